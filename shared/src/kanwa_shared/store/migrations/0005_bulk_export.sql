-- Exports that were asked for. Only the service that answers for the whole server writes here.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

-- What an export holds is not stored: it is the resources as they were at `transaction_time`, read when it is fetched.
CREATE TABLE bulk_export (
    id               uuid        PRIMARY KEY,
    client_id        text        NOT NULL,
    request          text        NOT NULL,
    transaction_time timestamptz NOT NULL,
    since            timestamptz,
    patients_only    boolean     NOT NULL,
    types            text[]      NOT NULL,
    remarks          text[]      NOT NULL,
    counts           jsonb,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX bulk_export_by_expiry ON bulk_export (expires_at);
