-- Which event stood at the position: a source that was restored gives its number to another one.
-- depends: 0008_commit_plans

SET LOCAL lock_timeout = '5s';

-- `event_sequence` beside it, because an older release moves `sequence` alone: the two must agree.
ALTER TABLE source_position ADD COLUMN event_sequence bigint, ADD COLUMN event_id uuid;
