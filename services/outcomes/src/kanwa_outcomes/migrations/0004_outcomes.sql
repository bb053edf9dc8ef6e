-- Completed procedures whose loop is open, and when it closes even without the primary measure.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

CREATE TABLE awaiting_closure (
    procedure_id text        NOT NULL COLLATE "C" PRIMARY KEY,
    closes_at    timestamptz NOT NULL
);
CREATE INDEX awaiting_closure_due ON awaiting_closure (closes_at);
