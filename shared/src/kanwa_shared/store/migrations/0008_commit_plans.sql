-- A commit reaches its rows through indexes, however large a table is and however old what is known of it.
-- depends: 0007_source_position

SET LOCAL lock_timeout = '5s';

-- PostgreSQL takes jsonb_to_recordset for 100 rows, whatever it holds. So it read whole tables to find the rows of
-- one resource, up to some ten thousand of them, and a plan once made in a small store stayed while the store grew.
ALTER FUNCTION commit_changes(jsonb) SET enable_seqscan = off;
ALTER FUNCTION commit_changes(jsonb) SET enable_hashjoin = off;
ALTER FUNCTION commit_changes(jsonb) SET enable_mergejoin = off;
