-- The board's own event log, and the read models that are folded from it.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

-- The lock on this row puts appends in one order: no position is seen before a smaller one, and none is left out.
CREATE TABLE event_log_head (
    the_only_row boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
    last         bigint  NOT NULL CHECK (last >= 0)
);
INSERT INTO event_log_head (last) VALUES (0);

-- `requests`, `stages` and `sites` are those of the referrals that the event touched, as they stood right after it;
-- the stream is filtered by them. The rest follows from the envelope alone.
CREATE TABLE event_log (
    position bigint      PRIMARY KEY CHECK (position > 0),
    event_id uuid        NOT NULL UNIQUE,
    source   text        NOT NULL COLLATE "C",
    sequence bigint      NOT NULL,
    type     text        NOT NULL COLLATE "C",
    resource text        NOT NULL COLLATE "C",
    version  integer     NOT NULL CHECK (version > 0),
    time     timestamptz NOT NULL,
    patient  text        COLLATE "C",
    links    text[]      NOT NULL,
    requests text[]      NOT NULL,
    stages   text[]      NOT NULL,
    sites    text[]      NOT NULL,
    envelope text        NOT NULL
);
CREATE INDEX event_log_by_resource ON event_log (resource, version);
CREATE INDEX event_log_by_link ON event_log USING gin (links);
CREATE INDEX event_log_by_patient ON event_log (patient, position);
CREATE INDEX event_log_by_source ON event_log (source, sequence);

-- The newest version of each resource, cut down to what the board needs.
CREATE TABLE fact (
    reference text        PRIMARY KEY COLLATE "C",
    version   integer     NOT NULL CHECK (version > 0),
    time      timestamptz NOT NULL,
    patient   text        COLLATE "C",
    links     text[]      NOT NULL,
    content   text,
    CONSTRAINT a_deleted_resource_has_no_patient CHECK (content IS NOT NULL OR patient IS NULL)
);
CREATE INDEX fact_by_patient ON fact (patient);
CREATE INDEX fact_by_link ON fact USING gin (links);

-- One row per referral; `document` is the whole case, the columns are what lists are ordered and filtered by.
CREATE TABLE referral_case (
    service_request text        PRIMARY KEY COLLATE "C",
    patient         text        COLLATE "C",
    stage           text        NOT NULL CHECK (stage IN ('referred', 'awaiting-mdt', 'accepted', 'booked',
                                                          'in-procedure', 'follow-up', 'closed', 'declined')),
    urgency         smallint    NOT NULL CHECK (urgency BETWEEN 0 AND 3),
    due             timestamptz,
    ended           timestamptz,
    document        text        NOT NULL
);
CREATE INDEX referral_case_by_urgency ON referral_case (stage, urgency, due, service_request);
CREATE INDEX referral_case_by_end ON referral_case (stage, ended DESC, service_request);
CREATE INDEX referral_case_by_patient ON referral_case (patient);
