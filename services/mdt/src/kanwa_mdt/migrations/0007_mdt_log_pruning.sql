-- How far the log was gone through for replaced versions, so that what must stay is not read again every hour.
-- depends: 0006_mdt_links

SET LOCAL lock_timeout = '5s';

-- Up to `aged_through` each row was looked at when it was past its time; up to `replaced_through` each row's
-- predecessors were. A table of its own: who appends to the log waits for nobody who prunes.
CREATE TABLE event_log_pruning (
    the_only_row     boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
    aged_through     bigint  NOT NULL CHECK (aged_through >= 0),
    replaced_through bigint  NOT NULL CHECK (replaced_through >= 0)
);
-- Whatever is in the log is seen from the older version that it replaces, once that one is past its time.
INSERT INTO event_log_pruning (aged_through, replaced_through) SELECT 0, last FROM event_log_head;
