-- From where on the log is complete: up to here it has lost versions that newer ones replaced.
-- depends: 0004_mdt

SET LOCAL lock_timeout = '5s';

ALTER TABLE event_log_head ADD COLUMN complete_after bigint NOT NULL DEFAULT 0 CHECK (complete_after >= 0);
