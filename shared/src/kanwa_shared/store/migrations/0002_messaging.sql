-- Messaging: what has to be published, what was received, what failed.
-- depends: 0001_resources

SET LOCAL lock_timeout = '5s';

-- Written in the transaction that writes the resource; read by the one active relay.
CREATE TABLE outbox (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id       uuid        NOT NULL UNIQUE,
    kind           text        NOT NULL CHECK (kind IN ('event', 'handover')),
    resource_type  text        NOT NULL,
    resource_id    text        NOT NULL COLLATE "C",
    version        integer     CHECK (version > 0),
    interaction    text        NOT NULL CHECK (interaction IN ('create', 'update', 'delete')),
    target         text,
    payload        text,
    occurred_at    timestamptz NOT NULL,
    traceparent    text,
    actor          text,
    correlation_id text,
    sequence       bigint      UNIQUE CHECK (sequence > 0),
    published_at   timestamptz,
    attempts       integer     NOT NULL DEFAULT 0,
    last_error     text,
    CONSTRAINT event_names_a_version CHECK (kind <> 'event' OR (version IS NOT NULL AND payload IS NULL AND target IS NULL)),
    CONSTRAINT handover_names_a_target CHECK (kind <> 'handover' OR (target IS NOT NULL AND sequence IS NULL)),
    CONSTRAINT handover_carries_the_resource
        CHECK (kind <> 'handover' OR (payload IS NULL) = (interaction = 'delete')),
    CONSTRAINT event_has_a_sequence_before_it_goes CHECK (kind <> 'event' OR published_at IS NULL OR sequence IS NOT NULL)
);
-- Each index holds only what waits, so it stays as small as the backlog.
CREATE INDEX outbox_unsequenced ON outbox (id) WHERE kind = 'event' AND sequence IS NULL;
CREATE INDEX outbox_events_to_publish ON outbox (sequence) WHERE kind = 'event' AND published_at IS NULL;
CREATE INDEX outbox_handovers_to_publish ON outbox (id) WHERE kind = 'handover' AND published_at IS NULL;

CREATE TABLE outbox_sequence (
    the_only_row boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
    last         bigint  NOT NULL CHECK (last >= 0)
);
INSERT INTO outbox_sequence (last) VALUES (0);

-- A row here is the proof that the event's effect is committed.
CREATE TABLE inbox (
    consumer    text        NOT NULL,
    event_id    uuid        NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_by_time ON inbox (received_at);

-- Deliveries that failed and are not settled. attempts 0: not tried, an older delivery about `resource` goes first.
-- position: the resource's version; of a hand-over, microseconds since 1970.
CREATE TABLE delivery_attempt (
    consumer   text        NOT NULL,
    event_id   uuid        NOT NULL,
    attempts   integer     NOT NULL CHECK (attempts >= 0),
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    resource   text,
    position   bigint,
    PRIMARY KEY (consumer, event_id)
);

-- open -> replayed (asked for) -> resolved (its effect is there), or open again.
CREATE TABLE dead_letter (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    text        NOT NULL,
    event_id    uuid        NOT NULL,
    source      text,
    reason      text        NOT NULL,
    attempts    integer     NOT NULL CHECK (attempts >= 0),
    traceparent text,
    envelope    text        NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    resolved_at timestamptz CHECK (resolved_at IS NULL OR replayed_at IS NOT NULL),
    UNIQUE (consumer, event_id)
);
CREATE INDEX dead_letter_unresolved ON dead_letter (consumer, died_at) WHERE resolved_at IS NULL;
