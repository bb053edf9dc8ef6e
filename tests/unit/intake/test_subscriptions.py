"""What a Subscription may ask for, when topics fire, how its status goes, what its secrets look like."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from kanwa_intake.domain.subscription_states import (
    COMMANDS,
    STATUSES,
    SubscriptionCommand,
    SubscriptionStatus,
    after,
    wanted_status,
)
from kanwa_intake.domain.subscription_topics import TOPICS, condition_of, fires, topics_met
from kanwa_intake.domain.subscription_topics_fhir import topic_resources
from kanwa_intake.domain.subscriptions import (
    SubscriptionRefused,
    is_topic_based,
    masked,
    read_channel,
    unmasked,
)
from kanwa_intake.domain.webhook_signature import shown_secret, signature_headers
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.search.dates import LATEST
from kanwa_shared.fhir.validation import validate
from tests.support.subscriptions import appointment, referral, subscription

Tree = dict[str, Any]
BASE = "https://kanwa.test/fhir"
ENDPOINT = "https://hospital.example/notifications"


def refused(tree: Tree) -> list[tuple[str, str]]:
    with pytest.raises(SubscriptionRefused) as caught:
        read_channel(tree)
    return [(issue.expression[0], issue.diagnostics) for issue in caught.value.issues]


def fired(tree: Tree, previous: Tree | None, interaction: str = "update") -> set[str]:
    met = topics_met(tree["resourceType"], interaction, tree, BASE)
    return {topic.id for topic in met if fires(topic, previous, BASE)}


def test_what_is_asked_for_is_read() -> None:
    tree = subscription(
        ENDPOINT,
        "mdt-decided",
        content="full-resource",
        filters=("Task?owner=CareTeam/1", "Task.priority=stat", "patient=Patient/1&status=completed"),
        headers=("Authorization: Bearer x", "X-Empty:"),
        max_count=7,
        timeout=5,
        heartbeat_period=60,
    )
    channel = read_channel({**tree, "end": "2027-01-01T00:00:00+09:00"})
    assert channel.topic.id == "mdt-decided"
    assert channel.filters == ("owner=CareTeam/1", "priority=stat", "patient=Patient/1&status=completed")
    assert channel.headers == (("Authorization", "Bearer x"), ("X-Empty", ""))
    assert (channel.content, channel.events_per_notification, channel.timeout_seconds) == (
        "full-resource",
        7,
        5,
    )
    assert channel.heartbeat_seconds == 60
    assert channel.end == datetime(2026, 12, 31, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-12-31T23:59:60Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T08:59:60.5+09:00", datetime(2027, 1, 1, microsecond=500_000, tzinfo=UTC)),
        ("9999-12-31T23:59:60Z", LATEST),
    ],
)
def test_an_end_in_a_leap_second_is_the_next_second(end: str, expected: datetime) -> None:
    assert read_channel({**subscription(ENDPOINT), "end": end}).end == expected


def test_bounds_hold_whatever_is_asked_for() -> None:
    channel = read_channel(subscription(ENDPOINT, max_count=10_000, timeout=10_000))
    assert (channel.events_per_notification, channel.timeout_seconds) == (100, 60)


def test_everything_that_can_not_be_done_is_told_at_once() -> None:
    tree = subscription(
        "ftp://hospital.example", "nothing", headers=("Host: x", "no header"), heartbeat_period=1
    )
    tree["channel"] |= {"type": "email", "payload": "application/fhir+xml", "_payload": {}}
    assert [element for element, _ in refused(tree)] == [
        "Subscription.criteria",
        "Subscription.channel.type",
        "Subscription.channel.payload",
        "Subscription.channel.payload.extension",
        "Subscription.channel.endpoint",
        "Subscription.channel.header[0]",
        "Subscription.channel.header[1]",
        "Subscription.channel.extension",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour=red", "no filter of this topic"),
        ("Patient?name=x", "no filter of this topic"),
        ("patient:Device=Device/1", "refers to"),
        ("priority:above=stat", "priority"),
        ("patient.name=x", "no filter of this topic"),
        ("_sort=status", "no filter of this topic"),
        ("_id=1&_count=5", "no filter of this topic"),
        ("", "no filter of this topic"),
    ],
)
def test_a_filter_that_the_topic_has_not_is_refused(text: str, said: str) -> None:
    ((element, diagnostics),) = refused(subscription(ENDPOINT, filters=(text,)))
    assert element == "Subscription.criteria.extension"
    assert said in diagnostics


@pytest.mark.parametrize(
    "header",
    ["Host: x", "Content-Length: 1", "Webhook-Signature: v1,x", "Transfer-Encoding: chunked", "A: b\r\nC: d",
     "A: \u00e9", ": x", "A B: c", "A: " + "x" * 3000],
)  # fmt: skip
def test_a_header_that_would_change_the_message_is_refused(header: str) -> None:
    ((element, _),) = refused(subscription(ENDPOINT, headers=(header,)))
    assert element == "Subscription.channel.header[0]"


def test_more_headers_than_a_message_needs_are_refused() -> None:
    assert refused(subscription(ENDPOINT, headers=tuple(f"A{n}: x" for n in range(21))))


@pytest.mark.parametrize(
    "endpoint",
    ["https://user:secret@h.example/", "https://h.example:99999/", "https://h.example/#x", "https://", "file:///x"],
)  # fmt: skip
def test_an_endpoint_is_a_plain_url_of_a_host(endpoint: str) -> None:
    ((element, _),) = refused(subscription(endpoint))
    assert element == "Subscription.channel.endpoint"


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ("Observation?code=x", False),
        ("Observation", False),
        ("https://kanwa.example/fhir/SubscriptionTopic/mdt-decided", True),
        ("http://other.example/topic", True),
    ],
)
def test_a_topic_is_told_from_a_query_of_r4(criteria: str, expected: bool) -> None:
    assert is_topic_based({"criteria": criteria}) is expected


def test_header_values_are_masked_and_found_again() -> None:
    tree = subscription(ENDPOINT, headers=("Authorization: Bearer x", "X: y"))
    stored = read_channel(tree).headers
    shown = masked(tree)
    assert shown["channel"]["header"] == ["Authorization: ***", "X: ***"]
    assert unmasked(read_channel(shown).headers, stored) == stored
    changed = unmasked((("authorization", "***"), ("X", "z"), ("New", "n")), stored)
    assert changed == (("authorization", "Bearer x"), ("X", "z"), ("New", "n"))


def test_a_mask_of_a_value_that_is_not_known_is_refused() -> None:
    with pytest.raises(SubscriptionRefused) as caught:
        unmasked((("X", "y"), ("New", "***"), ("Other", "***")), (("X", "y"),))
    assert [issue.expression for issue in caught.value.issues] == [
        ("Subscription.channel.header[1]",),
        ("Subscription.channel.header[2]",),
    ]


@pytest.mark.parametrize(
    ("header", "shown"),
    [("Authorization:Bearer x", "Authorization: ***"), ("Bearer x", "***"), ("Basic eDp5: z", "***"), ("a b", "***"),
     ("Cookie: a=b:c", "Cookie: ***"), ("", "***")],
)  # fmt: skip
def test_what_is_no_header_is_masked_as_a_whole(header: str, shown: str) -> None:
    tree = {"criteria": "Observation", "channel": {"header": [header]}}
    assert masked(tree)["channel"]["header"] == [shown]


@pytest.mark.parametrize(("status", "command"), list(product(STATUSES, COMMANDS)))
def test_every_status_answers_every_command(status: SubscriptionStatus, command: SubscriptionCommand) -> None:
    expected = {
        "ask": {"requested": "requested", "active": "requested", "error": "requested", "off": "requested"},
        "stop": dict.fromkeys(STATUSES, "off"),
        "accept": {"requested": "active", "active": "active", "error": "active", "off": "off"},
        "fail": {"requested": "error", "active": "error", "error": "error", "off": "off"},
        "give-up": dict.fromkeys(STATUSES, "off"),
    }
    assert after(status, command) == expected[command][status]


@pytest.mark.parametrize(
    ("before", "written", "same", "expected"),
    [
        (None, "requested", False, "requested"),
        (None, "active", False, "requested"),
        (None, "error", False, "requested"),
        (None, "off", False, "off"),
        ("active", "active", True, "active"),
        ("active", "active", False, "requested"),
        ("active", "requested", True, "requested"),
        ("error", "error", True, "error"),
        ("error", "active", True, "requested"),
        ("off", "active", True, "requested"),
        ("off", "off", True, "off"),
        ("active", "off", True, "off"),
    ],
)
def test_only_kanwa_says_that_a_subscription_is_active(
    before: SubscriptionStatus | None, written: str, same: bool, expected: str
) -> None:
    assert wanted_status(before, written, same_channel=same) == expected


def task(status: str, code: str = "approve") -> Tree:
    system = codes.TASK_CODE if code in ("approve", "fulfill") else codes.TASK
    return {
        "resourceType": "Task",
        "id": "t",
        "status": status,
        "intent": "order",
        "code": {"coding": [{"system": system, "code": code}]},
    }


@pytest.mark.parametrize(
    ("tree", "previous", "expected"),
    [
        ({**referral(), "id": "s"}, None, {"referral-received"}),
        ({**referral(), "id": "s"}, {**referral(), "id": "s"}, set()),
        ({**referral(), "id": "s"}, {**referral(status="draft"), "id": "s"}, {"referral-received"}),
        ({**referral(intent="plan"), "id": "s"}, None, set()),
        ({**referral(status="completed"), "id": "s"}, {**referral(), "id": "s"}, {"referral-closed"}),
        (task("requested"), None, {"mdt-review-requested"}),
        (task("completed"), task("requested"), {"mdt-decided"}),
        (task("completed"), task("completed"), set()),
        (task("accepted", "fulfill"), task("received", "fulfill"), {"referral-progressed"}),
        (task("requested", "follow-up"), None, set()),
        (appointment(status="booked"), appointment(status="pending"), {"appointment-booked"}),
        (appointment(status="booked"), appointment(status="booked"), set()),
        (appointment(status="cancelled"), appointment(status="booked"), {"appointment-cancelled"}),
        (appointment(status="noshow"), appointment(status="cancelled"), set()),
    ],
)
def test_a_topic_fires_when_the_step_is_taken(tree: Tree, previous: Tree | None, expected: set[str]) -> None:
    assert fired(tree, previous) == expected


def test_a_follow_up_is_planned_once() -> None:
    assert fired(task("requested", "follow-up"), None, "create") == {"follow-up-planned"}


def test_each_topic_can_be_decided_and_has_the_filters_that_it_names() -> None:
    for topic in TOPICS.values():
        for query in (topic.current, topic.previous, *(f"{name}=x" for name in topic.filters)):
            condition_of(topic.resource_type, query)


def test_published_topics_are_valid_r4() -> None:
    for tree in topic_resources():
        assert [i for i in validate(tree, dumps(tree)) if i.severity in ("error", "fatal")] == []


def test_a_signature_is_that_of_the_standard_webhooks_scheme() -> None:
    # Recomputed by hand from the scheme's text with openssl: echo -n "id.time.body" | openssl dgst -sha256 -hmac
    secret = b"0123456789abcdef0123456789abcdef"
    now = datetime(2026, 11, 25, 8, tzinfo=UTC)
    headers = signature_headers(secret, "msg_1", now, b'{"resourceType":"Bundle"}')
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795593600",
        "webhook-signature": "v1,W7vZ/gvtOcqV/t1m4lntfIHkLHO+H+DIVrcCbUgHrHA=",
    }
    assert shown_secret(secret) == "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
