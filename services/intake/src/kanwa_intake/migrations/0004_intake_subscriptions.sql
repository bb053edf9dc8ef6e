-- Topic-based Subscriptions: where notifications go, what is to be sent, how far the sending has come.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

-- What the sender works with; written in the commit that writes the Subscription. The resource shows `***` for the
-- values of `headers`, and never `secret`. `collects`: matching events are kept; no more after a client said off.
-- Events 1 … `last_number` have a number, 1 … `delivered` were accepted by the endpoint.
-- `verified`: the endpoint has answered a handshake since it was last asked for.
CREATE TABLE subscription_channel (
    subscription            text        PRIMARY KEY COLLATE "C",
    topic                   text        NOT NULL COLLATE "C",
    filters                 text[]      NOT NULL,
    endpoint                text        NOT NULL,
    headers                 jsonb       NOT NULL,
    content                 text        NOT NULL CHECK (content IN ('empty', 'id-only', 'full-resource')),
    heartbeat_seconds       integer     CHECK (heartbeat_seconds > 0),
    timeout_seconds         integer     NOT NULL CHECK (timeout_seconds > 0),
    events_per_notification integer     NOT NULL CHECK (events_per_notification > 0),
    ends_at                 timestamptz,
    owner                   text,
    secret                  bytea       NOT NULL,
    status                  text        NOT NULL CHECK (status IN ('requested', 'active', 'error', 'off')),
    collects                boolean     NOT NULL,
    verified                boolean     NOT NULL DEFAULT false,
    last_number             bigint      NOT NULL DEFAULT 0 CHECK (last_number >= 0),
    delivered               bigint      NOT NULL DEFAULT 0 CHECK (delivered BETWEEN 0 AND last_number),
    attempts                integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failing_since           timestamptz,
    due_at                  timestamptz,
    contacted_at            timestamptz,
    last_error              text
);
CREATE INDEX subscription_channel_by_topic ON subscription_channel (topic) WHERE collects;

-- Once for each event that some Subscription wants. `body` only where this service keeps no history of the type.
CREATE TABLE notified_event (
    event_id      uuid        PRIMARY KEY,
    resource_type text        NOT NULL,
    resource_id   text        NOT NULL COLLATE "C",
    version       integer     NOT NULL CHECK (version > 0),
    interaction   text        NOT NULL CHECK (interaction IN ('create', 'update')),
    occurred_at   timestamptz NOT NULL,
    body          text
);
CREATE INDEX notified_event_by_time ON notified_event (occurred_at);

-- `id` follows the order in which events were received; the sender turns it into `number`.
CREATE TABLE subscription_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription text   NOT NULL COLLATE "C" REFERENCES subscription_channel ON DELETE CASCADE,
    event_id     uuid   NOT NULL REFERENCES notified_event ON DELETE CASCADE,
    number       bigint CHECK (number > 0),
    UNIQUE (subscription, event_id),
    UNIQUE (subscription, number)
);
CREATE INDEX subscription_event_unnumbered ON subscription_event (id) WHERE number IS NULL;
CREATE INDEX subscription_event_of_event ON subscription_event (event_id);
