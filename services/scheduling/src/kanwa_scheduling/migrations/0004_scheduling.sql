-- Who is taken when: the database refuses two Appointments of one actor at the same time.
-- depends: 0003_commit

SET LOCAL lock_timeout = '5s';

-- An exclusion constraint over an integer range needs no extension; over the reference's text it would.
CREATE TABLE actor (
    actor_no  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference text   NOT NULL COLLATE "C" UNIQUE
);

CREATE TABLE actor_booking (
    appointment_id text        NOT NULL COLLATE "C",
    actor_no       bigint      NOT NULL REFERENCES actor,
    during         tstzrange   NOT NULL CHECK (NOT isempty(during)),
    holding        boolean     NOT NULL DEFAULT true,
    expires_at     timestamptz,
    PRIMARY KEY (appointment_id, actor_no),
    CONSTRAINT one_appointment_at_a_time
        EXCLUDE USING gist (int8range(actor_no, actor_no, '[]') WITH &&, during WITH &&) WHERE (holding)
);
CREATE INDEX actor_booking_expiry ON actor_booking (expires_at) WHERE holding AND expires_at IS NOT NULL;

-- At most one Appointment of a ServiceRequest is under way.
CREATE TABLE referral_booking (
    service_request_id text NOT NULL COLLATE "C" CONSTRAINT one_active_appointment_per_referral PRIMARY KEY,
    appointment_id     text NOT NULL COLLATE "C"
);
CREATE INDEX referral_booking_appointment ON referral_booking (appointment_id);

-- The Slots as intervals: what a calendar search reads instead of every Slot's text.
CREATE TABLE slot_window (
    slot_id     text      NOT NULL COLLATE "C" PRIMARY KEY,
    schedule_id text      NOT NULL COLLATE "C",
    status      text      NOT NULL CHECK (status IN ('busy', 'free', 'busy-unavailable', 'busy-tentative', 'entered-in-error')),
    during      tstzrange NOT NULL CHECK (NOT isempty(during)),
    booked_for  text COLLATE "C"
);
CREATE INDEX slot_window_during ON slot_window USING gist (during);
CREATE INDEX slot_window_schedule ON slot_window (schedule_id);
CREATE INDEX slot_window_booked ON slot_window (booked_for) WHERE booked_for IS NOT NULL;

-- Give an Appointment these actors for this time, instead of what it had.
-- The row locks make rivals for an actor queue up: two exclusion checks that wait for each other would deadlock.
CREATE FUNCTION take_actors(appointment text, actors text[], wanted tstzrange, expiry timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO actor (reference) SELECT a FROM unnest(actors) AS a ORDER BY a ON CONFLICT (reference) DO NOTHING;
    PERFORM 1 FROM actor WHERE reference = ANY (actors) ORDER BY actor_no FOR NO KEY UPDATE;
    DELETE FROM actor_booking WHERE appointment_id = appointment;
    INSERT INTO actor_booking (appointment_id, actor_no, during, expires_at)
    SELECT appointment, actor_no, wanted, expiry FROM actor WHERE reference = ANY (actors) ORDER BY actor_no;
END;
$$;
