-- The history of a type, newest first. New rows go to the end of each type's part, so keeping it costs a write little.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

CREATE INDEX resource_version_by_time ON resource_version (resource_type, last_updated, id, version);
