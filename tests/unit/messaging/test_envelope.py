"""CloudEvents 1.0 in structured JSON: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.messaging.envelope import Event, HandOver, MalformedEnvelope, read_message

MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

identifiers = st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True)
services = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
types = st.from_regex(r"[A-Z][A-Za-z]{0,30}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=zones)  # noqa: DTZ001 - bounds are naive
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=20,
)
layouts = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"indent": 2},
        {"separators": (" , ", " :\t"), "ensure_ascii": False},
        {"ensure_ascii": False},
    ]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    tree = draw(st.dictionaries(texts, json_values, max_size=5)) | {"number": "literal"}
    written = json.dumps(tree, **draw(layouts))
    # What a parse and a rewrite would lose: trailing zeros, exponents, a negative zero.
    literal = draw(st.sampled_from(["1.50", "1e2", "-0.0", "1.50E+3", "12345678901234567890.10"]))
    return written.replace('"literal"', literal).encode()


@st.composite
def events(draw: st.DrawFn) -> Event:
    return Event.of(
        id=str(draw(st.uuids())),
        service=draw(services),
        resource_type=draw(types),
        resource_id=draw(identifiers),
        version=draw(st.integers(1, 2**31 - 1)),
        interaction=draw(st.sampled_from(["create", "update", "delete"])),
        time=draw(times),
        sequence=draw(st.integers(1, 2**31 - 1)),
        body=draw(st.none() | bodies()),
        traceparent=draw(st.none() | texts),
        correlation_id=draw(st.none() | texts),
        actor=draw(st.none() | texts),
    )


@given(events())
def test_an_event_comes_back_equal_and_its_body_byte_for_byte(event: Event) -> None:
    read = Event.from_cloudevent(event.to_cloudevent())
    assert read == event
    assert read.body == event.body


@given(events())
def test_the_message_is_json_with_the_resource_inside_as_it_was_written(event: Event) -> None:
    message = event.to_cloudevent()
    json.loads(message)
    if event.body is not None:
        assert message.endswith(b'"data":' + event.body + b"}")


@given(events())
def test_a_notification_has_every_attribute_but_no_resource(event: Event) -> None:
    whole, notification = json.loads(event.to_cloudevent()), json.loads(event.to_cloudevent(False))
    whole.pop("data", None)
    whole.pop("datacontenttype", None)
    assert notification == whole


@given(events(), bodies(), st.none() | st.integers(1, 2**31 - 1))
def test_a_hand_over_comes_back_equal(event: Event, body: bytes, base: int | None) -> None:
    hand_over = HandOver(
        event.id,
        "scheduling",
        "create",
        event.resource_type,
        event.resource_id,
        body,
        event.source,
        event.time,
        event.traceparent,
        event.actor,
        event.correlation_id,
        base,
    )
    assert ("baseversion" in json.loads(hand_over.to_cloudevent())) == (base is not None)
    assert read_message(hand_over.to_cloudevent()) == hand_over
    assert hand_over.type == "kanwa.handover.create.v1"


def an_event(**changes: Any) -> Event:
    attributes: dict[str, Any] = {
        "id": "7f0c2a8e-0000-4000-8000-000000000001",
        "service": "intake",
        "resource_type": "ServiceRequest",
        "resource_id": "x1",
        "version": 3,
        "interaction": "update",
        "time": MOMENT,
        "sequence": 41,
    }
    return Event.of(**(attributes | changes))


def test_the_attributes_have_the_names_that_outside_programs_rely_on() -> None:
    event = an_event(body=b'{"a":1.50}', traceparent="00-a-b-01", correlation_id="c", actor="ehr")
    assert json.loads(event.to_cloudevent()) == {
        "specversion": "1.0",
        "id": "7f0c2a8e-0000-4000-8000-000000000001",
        "source": "https://kanwa.example/intake",
        "type": "kanwa.intake.ServiceRequest.update.v1",
        "subject": "ServiceRequest/x1/_history/3",
        "time": "2026-03-01T09:30:00Z",
        "datacontenttype": "application/fhir+json",
        "sequence": 41,
        "traceparent": "00-a-b-01",
        "correlationid": "c",
        "actor": "ehr",
        "data": {"a": 1.5},
    }
    assert event.routing_key == "intake.ServiceRequest.update"


def test_derived_attributes_come_from_type_and_subject() -> None:
    event = Event(
        "e", "https://kanwa.example/intake", "kanwa.intake.Task.create.v1", "Task/t/_history/1", MOMENT, 1
    )
    assert (event.service, event.resource_type, event.resource_id, event.version, event.interaction) == (
        "intake",
        "Task",
        "t",
        1,
        "create",
    )


def test_an_attribute_that_a_later_release_adds_is_ignored() -> None:
    message = json.loads(an_event().to_cloudevent()) | {"stage": "4.2"}
    assert Event.from_cloudevent(json.dumps(message).encode()) == an_event()


def test_a_data_member_that_is_null_means_no_resource() -> None:
    message = json.loads(an_event().to_cloudevent()) | {"data": None}
    assert Event.from_cloudevent(json.dumps(message).encode()).body is None


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"type": "kanwa.intake.Task.update.v1"},
        {"type": "kanwa.intake.ServiceRequest.patch.v1"},
        {"type": "kanwa.intake.ServiceRequest.update.v2"},
        {"subject": "ServiceRequest/x1"},
        {"subject": "ServiceRequest/x1/_history/0"},
        {"time": "2026-03-01T09:30:00"},
        {"time": "yesterday"},
        {"sequence": "41"},
        {"sequence": None},
        {"id": 7},
        {"id": None},
    ],
    ids=str,
)
def test_a_message_that_breaks_the_contract_is_malformed(change: dict[str, Any]) -> None:
    message = json.loads(an_event().to_cloudevent()) | change
    with pytest.raises(MalformedEnvelope):
        read_message(json.dumps(message).encode())


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "time", "sequence"])
def test_a_message_without_a_required_attribute_is_malformed(name: str) -> None:
    message = json.loads(an_event().to_cloudevent())
    del message[name]
    with pytest.raises(MalformedEnvelope):
        read_message(json.dumps(message).encode())


@given(st.binary(max_size=200))
def test_any_other_bytes_are_malformed(message: bytes) -> None:
    with pytest.raises(MalformedEnvelope):
        read_message(message)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(MalformedEnvelope, match="time zone"):
        an_event(time=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the fault
