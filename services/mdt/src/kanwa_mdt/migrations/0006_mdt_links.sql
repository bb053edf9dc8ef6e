-- What names a referral is asked for with every event, right after it was written.
-- depends: 0005_mdt_log_completeness

SET LOCAL lock_timeout = '5s';

-- New entries waited in a list of up to 4 MB, which each of these questions read from end to end.
ALTER INDEX fact_by_link SET (fastupdate = off);
ALTER INDEX event_log_by_link SET (fastupdate = off);
DO $$
BEGIN
    PERFORM gin_clean_pending_list('fact_by_link'), gin_clean_pending_list('event_log_by_link');
END
$$;
