-- One statement writes resources, their versions, their search rows and their outbox entries.
-- depends: 0002_messaging

SET LOCAL lock_timeout = '5s';

-- `changes` is one JSON object, written by kanwa_shared.store.commit: the arrays `writes`, `references`, `dates`,
-- `quantities`, `strings` and `outbox`, the counts `updates` and `replicas`, and the members `now`, `traceparent`,
-- `actor`, `correlation_id`, `consumer`, `received`.
-- SQLSTATE KW001: a resource has another version than the writer expected; nothing was written.
-- SQLSTATE KW002: this consumer has received this event before; nothing was written.
CREATE FUNCTION commit_changes(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz := changes ->> 'now';
    v_consumer text        := changes ->> 'consumer';
    v_updates  integer     := changes -> 'updates';
    v_replicas integer     := changes -> 'replicas';
    v_written  integer;
BEGIN
    IF v_consumer IS NOT NULL THEN
        INSERT INTO inbox (consumer, event_id, received_at)
        VALUES (v_consumer, (changes ->> 'received')::uuid, v_now)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'event % was received before', changes ->> 'received' USING ERRCODE = 'KW002';
        END IF;
    END IF;

    -- The writer sorts `writes` by key: two commits over the same resources wait for each other, no deadlock.
    INSERT INTO resource (resource_type, id, version, last_updated, deleted, replica, tokens)
    SELECT w.t, w.id, w.v, v_now, false, false, w.tokens
    FROM jsonb_to_recordset(changes -> 'writes')
         AS w (t text, id text, v integer, replica boolean, tokens text[])
    WHERE w.v = 1 AND NOT w.replica;

    IF v_updates > 0 THEN
        PERFORM 1 FROM resource r
        JOIN jsonb_to_recordset(changes -> 'writes') AS w (t text, id text, v integer, replica boolean)
          ON r.resource_type = w.t AND r.id = w.id
        WHERE w.v > 1 AND NOT w.replica
        ORDER BY r.resource_type, r.id FOR UPDATE OF r;
        UPDATE resource r
        SET version = w.v, last_updated = v_now, deleted = (w.interaction = 'delete'), tokens = w.tokens
        FROM jsonb_to_recordset(changes -> 'writes')
             AS w (t text, id text, v integer, interaction text, replica boolean, tokens text[])
        WHERE r.resource_type = w.t AND r.id = w.id AND w.v > 1 AND NOT w.replica
          AND NOT r.replica AND r.version = w.v - 1;
        GET DIAGNOSTICS v_written = ROW_COUNT;
        IF v_written <> v_updates THEN
            RAISE EXCEPTION 'a resource was written by somebody else' USING ERRCODE = 'KW001';
        END IF;
    END IF;

    IF v_replicas > 0 THEN
        INSERT INTO resource AS r (resource_type, id, version, last_updated, deleted, replica, tokens)
        SELECT w.t, w.id, w.v, v_now, w.interaction = 'delete', true, w.tokens
        FROM jsonb_to_recordset(changes -> 'writes')
             AS w (t text, id text, v integer, interaction text, replica boolean, tokens text[])
        WHERE w.replica
        ON CONFLICT (resource_type, id) DO UPDATE
        SET version = excluded.version, last_updated = excluded.last_updated,
            deleted = excluded.deleted, tokens = excluded.tokens
        WHERE r.replica AND r.version < excluded.version;
        GET DIAGNOSTICS v_written = ROW_COUNT;
        IF v_written <> v_replicas THEN
            RAISE EXCEPTION 'a newer version is here already' USING ERRCODE = 'KW001';
        END IF;
        -- A replica keeps its newest text only; its owner has the history.
        DELETE FROM resource_version x
        USING jsonb_to_recordset(changes -> 'writes') AS w (t text, id text, replica boolean)
        WHERE w.replica AND x.resource_type = w.t AND x.id = w.id;
    END IF;

    IF v_updates > 0 OR v_replicas > 0 THEN
        DELETE FROM resource_reference x USING jsonb_to_recordset(changes -> 'writes') AS w (t text, id text)
        WHERE x.resource_type = w.t AND x.id = w.id;
        DELETE FROM resource_date x USING jsonb_to_recordset(changes -> 'writes') AS w (t text, id text)
        WHERE x.resource_type = w.t AND x.id = w.id;
        DELETE FROM resource_quantity x USING jsonb_to_recordset(changes -> 'writes') AS w (t text, id text)
        WHERE x.resource_type = w.t AND x.id = w.id;
        DELETE FROM resource_string x USING jsonb_to_recordset(changes -> 'writes') AS w (t text, id text)
        WHERE x.resource_type = w.t AND x.id = w.id;
    END IF;

    INSERT INTO resource_version (resource_type, id, version, last_updated, interaction, body)
    SELECT w.t, w.id, w.v, v_now, w.interaction, w.body
    FROM jsonb_to_recordset(changes -> 'writes') AS w (t text, id text, v integer, interaction text, body text);

    INSERT INTO resource_reference (resource_type, id, param, target_type, target_id)
    SELECT x.t, x.id, x.param, x.target_type, x.target_id
    FROM jsonb_to_recordset(changes -> 'references')
         AS x (t text, id text, param text, target_type text, target_id text);

    INSERT INTO resource_date (resource_type, id, param, low, high)
    SELECT x.t, x.id, x.param, x.low, x.high
    FROM jsonb_to_recordset(changes -> 'dates')
         AS x (t text, id text, param text, low timestamptz, high timestamptz);

    IF jsonb_array_length(changes -> 'quantities') > 0 THEN
        INSERT INTO resource_quantity (resource_type, id, param, low, high, system, code)
        SELECT x.t, x.id, x.param, x.low, x.high, x.system, x.code
        FROM jsonb_to_recordset(changes -> 'quantities')
             AS x (t text, id text, param text, low numeric, high numeric, system text, code text);
    END IF;
    IF jsonb_array_length(changes -> 'strings') > 0 THEN
        INSERT INTO resource_string (resource_type, id, param, normalised, exact)
        SELECT x.t, x.id, x.param, x.normalised, x.exact
        FROM jsonb_to_recordset(changes -> 'strings')
             AS x (t text, id text, param text, normalised text, exact text);
    END IF;

    -- After the resources: an outbox id is drawn while the resource's row is locked, so ids follow versions.
    INSERT INTO outbox (event_id, kind, resource_type, resource_id, version, interaction, target, payload,
                        occurred_at, traceparent, actor, correlation_id)
    SELECT o.event_id, o.kind, o.t, o.id, o.v, o.interaction, o.target, o.payload,
           v_now, changes ->> 'traceparent', changes ->> 'actor', changes ->> 'correlation_id'
    FROM jsonb_to_recordset(changes -> 'outbox')
         AS o (event_id uuid, kind text, t text, id text, v integer, interaction text, target text, payload text);
END
$$;
