-- Resources: current versions, every version's text, and the rows that searches use.

SET LOCAL lock_timeout = '5s';

CREATE TABLE resource (
    resource_type text        NOT NULL,
    id            text        NOT NULL COLLATE "C",
    version       integer     NOT NULL CHECK (version > 0),
    last_updated  timestamptz NOT NULL,
    deleted       boolean     NOT NULL,
    replica       boolean     NOT NULL,
    tokens        text[]      NOT NULL,
    PRIMARY KEY (resource_type, id)
);
-- A small pending list keeps the search that must read it fast.
CREATE INDEX resource_tokens ON resource USING gin (tokens) WITH (gin_pending_list_limit = 512) WHERE NOT deleted;
CREATE INDEX resource_by_time ON resource (resource_type, last_updated, id) WHERE NOT deleted;

CREATE TABLE resource_version (
    resource_type text        NOT NULL,
    id            text        NOT NULL COLLATE "C",
    version       integer     NOT NULL CHECK (version > 0),
    last_updated  timestamptz NOT NULL,
    interaction   text        NOT NULL CHECK (interaction IN ('create', 'update', 'delete')),
    body          text,
    PRIMARY KEY (resource_type, id, version),
    CONSTRAINT only_a_deletion_has_no_body CHECK ((body IS NULL) = (interaction = 'delete'))
);

CREATE TABLE resource_reference (
    resource_type text NOT NULL,
    id            text NOT NULL COLLATE "C",
    param         text NOT NULL,
    target_type   text NOT NULL,
    target_id     text NOT NULL COLLATE "C"
);
-- Types and parameters hang together: without these counts the planner takes a parameter's rows for far fewer.
CREATE STATISTICS resource_reference_kinds (mcv) ON resource_type, param, target_type FROM resource_reference;
CREATE INDEX resource_reference_of ON resource_reference (resource_type, id);
CREATE INDEX resource_reference_to ON resource_reference (target_type, target_id, resource_type, param);

CREATE TABLE resource_date (
    resource_type text        NOT NULL,
    id            text        NOT NULL COLLATE "C",
    param         text        NOT NULL,
    low           timestamptz NOT NULL,
    high          timestamptz NOT NULL,
    -- Only periods reach far beyond their start: "ends after" need not look at all the moments and days.
    wide          boolean     NOT NULL GENERATED ALWAYS AS (high - low > interval '24 hours') STORED
);
CREATE STATISTICS resource_date_kinds (mcv) ON resource_type, param, wide FROM resource_date;
CREATE INDEX resource_date_of ON resource_date (resource_type, id);
CREATE INDEX resource_date_by_low ON resource_date (resource_type, param, low, id);
CREATE INDEX resource_date_wide ON resource_date (resource_type, param, high, id) WHERE wide;

CREATE TABLE resource_quantity (
    resource_type text    NOT NULL,
    id            text    NOT NULL COLLATE "C",
    param         text    NOT NULL,
    low           numeric NOT NULL,
    high          numeric NOT NULL,
    system        text    NOT NULL,
    code          text    NOT NULL,
    -- Ranges and quantities with a comparator; all others are points.
    wide          boolean NOT NULL GENERATED ALWAYS AS (high > low) STORED
);
CREATE STATISTICS resource_quantity_kinds (mcv) ON resource_type, param, wide FROM resource_quantity;
CREATE INDEX resource_quantity_of ON resource_quantity (resource_type, id);
CREATE INDEX resource_quantity_by_low ON resource_quantity (resource_type, param, low, id);
CREATE INDEX resource_quantity_wide ON resource_quantity (resource_type, param, high, id) WHERE wide;

CREATE TABLE resource_string (
    resource_type text NOT NULL,
    id            text NOT NULL COLLATE "C",
    param         text NOT NULL,
    normalised    text NOT NULL COLLATE "C",
    exact         text NOT NULL COLLATE "C"
);
CREATE STATISTICS resource_string_kinds (mcv) ON resource_type, param FROM resource_string;
CREATE INDEX resource_string_of ON resource_string (resource_type, id);
CREATE INDEX resource_string_by_text ON resource_string (resource_type, param, left(normalised, 120), id);
