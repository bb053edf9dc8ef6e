-- How far a consumer has compared what it received with the log of each source.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

-- Everything up to `sequence` was received, was given up, or was not meant for the consumer.
CREATE TABLE source_position (
    consumer text   NOT NULL,
    source   text   NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    PRIMARY KEY (consumer, source)
);
