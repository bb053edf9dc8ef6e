"""Topic-based Subscriptions over a real database and real HTTP: handshake, order, retries for days, one sender."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from kanwa_intake.domain.subscription_topics import TOPICS
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.rest.fixed import publish_fixed
from tests.support.intake_service import Clock, Intake, intake
from tests.support.one_service import BASE, JSON
from tests.support.subscriber import Subscriber, subscriber
from tests.support.subscribing import becomes, refer, status_of, subscribe
from tests.support.subscriptions import TOPIC, appointment, referral, subscription
from tests.support.waiting import until

Tree = dict[str, Any]


async def test_nothing_is_sent_before_the_endpoint_has_taken_a_handshake(
    service: Intake, listening: Subscriber
) -> None:
    listening.status = 500
    reference = await subscribe(service, subscription(listening.url))
    (made,) = await refer(service, 1)
    async with service.sending(clock := Clock()):
        await becomes(service, reference, "error")
        assert (await service.read(reference))["error"] == "answered HTTP 500"
        assert listening.received == []
        listening.status = 200
        clock.ahead = timedelta(minutes=1)
        await becomes(service, reference, "active")
        await until(lambda: listening.numbers == [1])
    first, event = listening.received
    assert (first.kind, first.parameters["status"]) == ("handshake", "error")
    assert "error" not in await service.read(reference)
    assert event.focus == [f"{BASE}/{made}"]


async def test_a_notification_is_a_history_bundle_that_begins_with_its_status(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url))
    (made,) = await refer(service, 1)
    async with service.sending():
        await until(lambda: listening.numbers == [1])
    handshake, event = listening.received
    assert handshake.headers["content-type"] == event.headers["content-type"] == "application/fhir+json"
    assert handshake.parameters == {
        "subscription": {"reference": f"{BASE}/{reference}"},
        "topic": f"{TOPIC}/referral-received",
        "status": "requested",
        "type": "handshake",
        "events-since-subscription-start": "1",
        "notification-event": [],
    }
    bundle = event.bundle
    assert (bundle["resourceType"], bundle["type"], len(bundle["entry"])) == ("Bundle", "history", 1)
    (entry,) = bundle["entry"]
    assert entry["request"] == {"method": "GET", "url": f"{BASE}/{reference}/$status"}
    assert entry["response"] == {"status": "200"}
    (told,) = event.parameters["notification-event"]
    assert (told["event-number"], told["focus"]["reference"]) == ("1", f"{BASE}/{made}")


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
async def test_the_payload_shows_as_much_as_was_asked_for(
    service: Intake, listening: Subscriber, content: str
) -> None:
    await subscribe(service, subscription(listening.url, "appointment-booked", content=content))
    await service.replicate(appointment(), service="scheduling")
    async with service.sending():
        await until(lambda: listening.numbers == [1])
    (event,) = listening.of_kind("event-notification")
    (told,) = event.parameters["notification-event"]
    shown = [entry.get("resource") for entry in event.bundle["entry"][1:]]
    assert ("focus" in told, "topic" in event.parameters) == ((content != "empty"),) * 2
    assert shown == ([appointment()] if content == "full-resource" else [])
    if content == "empty":
        assert b"Appointment" not in event.body


async def test_full_resources_are_the_versions_that_fired_even_if_newer_ones_came(
    service: Intake, listening: Subscriber
) -> None:
    await subscribe(service, subscription(listening.url, "appointment-held", content="full-resource"))
    await service.replicate(appointment(status="pending"), service="scheduling")
    await service.replicate(appointment(status="booked"), service="scheduling")
    async with service.sending():
        await until(lambda: listening.numbers == [1])
    (event,) = listening.of_kind("event-notification")
    assert event.bundle["entry"][1]["resource"]["status"] == "pending"


async def test_an_event_that_is_delivered_again_is_told_once(service: Intake, listening: Subscriber) -> None:
    await subscribe(service, subscription(listening.url, "appointment-booked"))
    await service.replicate(appointment(), service="scheduling", times=3)
    await service.replicate(appointment(), service="scheduling")  # booked as before: no news
    await service.replicate(appointment("a2"), service="scheduling")
    async with service.sending():
        await until(lambda: listening.numbers == [1, 2])
    assert [focus.rsplit("/")[-1] for n in listening.of_kind("event-notification") for focus in n.focus] == [
        "a1",
        "a2",
    ]


async def test_steps_are_told_once_each_in_whatever_order_their_versions_come(
    service: Intake, listening: Subscriber
) -> None:
    steps = {1: "pending", 2: "booked", 3: "cancelled"}
    topics = ("appointment-held", "appointment-booked", "appointment-cancelled")
    for topic in topics:
        await subscribe(service, subscription(f"{listening.url}/{topic}", topic))
    orders = list(permutations(steps))
    for number, order in enumerate(orders):
        for version in order:
            tree = appointment(f"a{number}", steps[version])
            await service.replicate(tree, service="scheduling", version=version, times=2)
    async with service.sending():
        await until(lambda: len(listening.numbers) >= len(topics) * len(orders))
        # Whoever was told more than that would be told of it before this one.
        for version, status in steps.items():
            await service.replicate(appointment("last", status), service="scheduling", version=version)
        await until(lambda: sum("last" in str(n.focus) for n in listening.received) == len(topics))
    expected = [f"{BASE}/Appointment/{id}" for id in (*(f"a{n}" for n in range(len(orders))), "last")]
    for topic in topics:
        told = [n for n in listening.of_kind("event-notification") if n.path.endswith(topic)]
        assert [focus for n in told for focus in n.focus] == expected
        assert [number for n in told for number in n.numbers] == list(range(1, len(expected) + 1))


async def test_a_step_after_a_version_that_is_missing_is_told_although_it_may_be_none(
    service: Intake, listening: Subscriber
) -> None:
    await subscribe(service, subscription(listening.url, "appointment-booked", content="full-resource"))
    for version in (1, 3, 4):  # 2 was cancelled; 4 is booked as 3 was
        tree = {**appointment(), "meta": {"versionId": str(version)}}
        await service.replicate(tree, service="scheduling", version=version)
    async with service.sending():
        await until(lambda: listening.numbers == [1, 2])
        await service.replicate(appointment("a2"), service="scheduling")
        await until(lambda: listening.numbers == [1, 2, 3])
    told = [n.bundle["entry"][1]["resource"] for n in listening.of_kind("event-notification")]
    assert [tree.get("meta", {}).get("versionId") for tree in told] == ["1", "3", None]


async def test_filters_narrow_a_topic(service: Intake, listening: Subscriber) -> None:
    wanted = ("ServiceRequest?patient=Patient/p2", f"patient={BASE}/Patient/p2", "priority=stat,asap")
    await subscribe(service, subscription(listening.url, filters=wanted))
    await refer(service, 1, patient="p1")
    (mine,) = await refer(service, 1, patient="p2")
    await refer(service, 1, patient="p2", priority="routine")
    async with service.sending():
        await until(lambda: listening.numbers == [1])
    assert listening.of_kind("event-notification")[0].focus == [f"{BASE}/{mine}"]


async def test_an_endpoint_that_is_down_for_a_day_gets_everything_in_order_once_it_is_back(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url, max_count=10))
    clock = Clock()
    made: list[str] = []
    async with service.sending(clock):
        await becomes(service, reference, "active")
        listening.status = 503
        for _ in range(24):
            made += await refer(service, 1)
            clock.ahead += timedelta(hours=1)
            before = listening.refused
            await until(lambda before=before: listening.refused > before)
    assert await status_of(service, reference) == "error"
    listening.status = 200
    clock.ahead += timedelta(hours=1)
    async with service.sending(clock):
        await until(lambda: len(listening.numbers) == 24)
        await becomes(service, reference, "active")
    assert listening.numbers == list(range(1, 25))
    told = [focus for n in listening.of_kind("event-notification") for focus in n.focus]
    assert told == [f"{BASE}/{reference}" for reference in made]
    assert [len(n.numbers) for n in listening.of_kind("event-notification")] == [10, 10, 4]


async def test_after_a_week_it_is_given_up_and_who_asks_again_gets_what_was_kept(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url))
    clock = Clock()
    async with service.sending(clock):
        await becomes(service, reference, "active")
        listening.status = 503
        await refer(service, 1)

        async def is_noted() -> bool:
            return b"answered HTTP 503" in (await service.client.get(f"{reference}/$status")).content

        await until(is_noted)
        clock.ahead += timedelta(hours=169)
        await becomes(service, reference, "off")
        assert "answered HTTP 503" in (await service.read(reference))["error"]
        await refer(service, 1)
        listening.status = 200
        clock.ahead += timedelta(hours=1)
        await service.write({**await service.read(reference), "status": "requested"}, 200)
        await becomes(service, reference, "active")
        await until(lambda: listening.numbers == [1, 2])


async def test_an_endpoint_that_hangs_or_fails_holds_nobody_else_up(
    service: Intake, listening: Subscriber, free_port: Callable[[], int]
) -> None:
    async with subscriber(free_port()) as hanging:
        hanging.hangs = True
        for _ in range(3):
            await subscribe(service, subscription(hanging.url, timeout=1))
        await subscribe(service, subscription(listening.url))
        await refer(service, 5)
        async with service.sending():
            await until(lambda: listening.numbers == [1, 2, 3, 4, 5])
        assert hanging.received == []


async def test_each_subscription_is_sent_to_its_own_endpoint_with_its_own_headers(
    service: Intake, listening: Subscriber
) -> None:
    for name in ("one", "two"):
        await subscribe(
            service, subscription(f"{listening.url}/{name}", headers=(f"Authorization: Bearer {name}",))
        )
    await refer(service, 3)
    async with service.sending():
        await until(lambda: len(listening.numbers) == 6)
    for name in ("one", "two"):
        own = [n for n in listening.received if n.path.endswith(name)]
        assert {n.headers["authorization"] for n in own} == {f"Bearer {name}"}
        assert [number for n in own for number in n.numbers] == [1, 2, 3]


async def test_of_several_senders_one_sends_and_another_takes_over(
    service: Intake, listening: Subscriber, intake_database: str
) -> None:
    reference = await subscribe(service, subscription(listening.url))
    async with intake(intake_database) as second, second.sending():
        async with service.sending():
            await becomes(service, reference, "active")
            await refer(service, 20)
            await until(lambda: len(listening.numbers) == 20)
        await refer(service, 5)
        await until(lambda: len(listening.numbers) == 25)
    assert listening.numbers == list(range(1, 26))
    assert len(listening.of_kind("handshake")) == 1


async def test_who_sends_no_more_counts_no_more(service: Intake, listening: Subscriber) -> None:
    def counted() -> set[str]:
        names = {"kanwa_subscriptions", "kanwa_notifications_waiting"}
        return {family.name for family in REGISTRY.collect() if family.name in names and family.samples}

    reference = await subscribe(service, subscription(listening.url))
    async with service.sending():
        await becomes(service, reference, "active")
        assert len(counted()) == 2
    assert counted() == set()


async def test_a_sender_whose_database_session_is_cut_goes_on(
    service: Intake, listening: Subscriber, intake_database: str
) -> None:
    reference = await subscribe(service, subscription(listening.url))
    async with service.sending():
        await becomes(service, reference, "active")
        with psycopg.connect(intake_database, autocommit=True) as connection:
            cut = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'kanwa relay notifications'"
            ).fetchone()
        assert cut == (1,)
        await refer(service, 3)
        await until(lambda: listening.numbers == [1, 2, 3])


async def test_a_silent_subscription_beats_and_a_new_one_shows_it_is_there(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url, heartbeat_period=60))
    async with service.sending(clock := Clock()):
        await becomes(service, reference, "active")
        assert listening.of_kind("heartbeat") == []
        minutes = 0

        def has_beaten_twice() -> bool:
            # The silence counts from when an answer was noted, which is some time after it was given.
            nonlocal minutes
            minutes += 1
            clock.ahead += timedelta(seconds=61)
            return len(listening.of_kind("heartbeat")) >= 2

        await until(has_beaten_twice)
    assert len(listening.of_kind("heartbeat")) <= minutes
    assert listening.of_kind("heartbeat")[0].parameters["events-since-subscription-start"] == "0"


async def test_a_subscription_ends_when_it_said(service: Intake, listening: Subscriber) -> None:
    tree = {**subscription(listening.url), "end": "2030-01-01T00:00:00Z"}
    reference = await subscribe(service, tree)
    async with service.sending(clock := Clock()):
        await becomes(service, reference, "active")
        clock.ahead = timedelta(days=3000)
        await becomes(service, reference, "off")
    await refer(service, 1)
    assert listening.numbers == []


@pytest.mark.parametrize("moment", ["2016-12-31T23:59:60Z", "9999-12-31T23:59:60Z", "9999-12-31"])
async def test_a_leap_second_and_the_end_of_the_calendar_are_times_like_others(
    service: Intake, listening: Subscriber, moment: str
) -> None:
    observation = {
        "resourceType": "Observation",
        "id": "inr",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": moment,
        "valueQuantity": {"value": 1.2},
    }
    await service.replicate(observation, service="outcomes")
    for more in ({"authoredOn": moment}, {"occurrencePeriod": {"start": moment, "end": moment}}):
        await service.write(referral(**more), 201)
    if "T" in moment:
        await service.write({**subscription(listening.url), "end": moment}, 201)
    await service.hear_itself()


async def test_who_turns_it_off_or_deletes_it_is_sent_no_more(service: Intake, listening: Subscriber) -> None:
    for remove in (False, True):
        reference = await subscribe(service, subscription(f"{listening.url}/{remove}"))
        async with service.sending():
            await becomes(service, reference, "active")
            if remove:
                assert (await service.client.delete(reference)).status_code == 204
            else:
                await service.write({**await service.read(reference), "status": "off"}, 200)
            await refer(service, 1)
    other = await subscribe(service, subscription(listening.url))
    await refer(service, 1)
    async with service.sending():
        await becomes(service, other, "active")
        await until(lambda: listening.numbers == [1])


async def test_a_redirect_is_not_followed(service: Intake, listening: Subscriber) -> None:
    listening.status, listening.location = 307, f"{listening.url}/elsewhere"
    reference = await subscribe(service, subscription(listening.url))
    async with service.sending():
        await becomes(service, reference, "error")
    assert (await service.read(reference))["error"] == "answered HTTP 307"
    assert listening.refused == 1


async def test_events_can_be_asked_for_by_number_and_the_status_at_any_time(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url, content="full-resource"))
    made = await refer(service, 5)
    listening.status = 503
    async with service.sending():
        await becomes(service, reference, "error")
        query = {"eventsSinceNumber": "2", "eventsUntilNumber": "4"}
        answer = await service.client.get(f"{reference}/$events", params=query)
    status = (await service.client.get(f"{reference}/$status")).json()
    (told,) = [entry["resource"]["parameter"] for entry in status["entry"]]
    values = {parameter["name"]: parameter for parameter in told}
    assert values["status"]["valueCode"] == "error"
    assert values["events-since-subscription-start"]["valueString"] == "5"
    assert values["error"]["valueCodeableConcept"]["text"] == "answered HTTP 503"
    bundle = answer.json()
    assert bundle["type"] == "history"
    assert [entry["resource"]["id"] for entry in bundle["entry"][1:]] == [
        reference.partition("/")[2] for reference in made[1:4]
    ]
    none = await service.client.get(f"{reference}/$events", params={"content": "empty"})
    assert len(none.json()["entry"]) == 1
    assert made[0] not in none.text
    for name, value in (("eventsSinceNumber", "x"), ("content", "everything")):
        refused = await service.client.get(f"{reference}/$events", params={name: value})
        assert (refused.status_code, refused.json()["resourceType"]) == (400, "OperationOutcome")
    everyone = (await service.client.get("Subscription/$status", params={"status": "error"})).json()
    assert everyone["total"] == 1


async def test_events_older_than_the_window_are_forgotten_and_their_numbers_are_not_given_again(
    intake_database: str, listening: Subscriber
) -> None:
    clock = Clock()
    async with intake(intake_database, subscription_retention_days=1) as service:
        reference = await subscribe(service, subscription(listening.url))
        async with service.sending(clock):
            await becomes(service, reference, "active")
            listening.status = 503
            await refer(service, 2)
            await until(lambda: listening.refused)

        async def gone() -> bool:
            answer = await service.client.get(f"{reference}/$events")
            return b"event-number" not in answer.content

        clock.ahead = timedelta(days=2)
        async with service.sending(clock):
            await until(gone)
            listening.status = 200
            clock.ahead += timedelta(hours=1)
            await refer(service, 1)
            # An attempt that was under way when the events were forgotten may still have succeeded.
            await until(lambda: listening.numbers[-1:] == [3])


@pytest.mark.parametrize("kind", ["Observation?code=http://loinc.org|1975-2", "Observation"])
async def test_a_query_of_r4_is_kept_and_its_status_says_that_nothing_is_sent(
    service: Intake, listening: Subscriber, kind: str
) -> None:
    tree = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "x",
        "criteria": kind,
        "channel": {
            "type": "rest-hook",
            "endpoint": listening.url,
        },
    }
    written = await service.write(tree, 201)
    assert {name: value for name, value in written.items() if name not in ("id", "meta")} == tree
    status = (await service.client.get(f"Subscription/{written['id']}/$status")).json()
    assert "R4 query" in str(status["entry"][0]["resource"]["parameter"])
    assert (await service.client.get(f"Subscription/{written['id']}/$events")).status_code == 404


async def test_an_endpoint_inside_the_hospitals_network_is_refused_unless_it_was_opened(
    intake_database: str, listening: Subscriber
) -> None:
    body = dumps(subscription(listening.url))
    async with intake(intake_database, subscription_networks="") as service:
        answer = await service.client.post("Subscription", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Subscription.channel.endpoint"]


async def test_a_transaction_sets_up_a_subscription_too(service: Intake, listening: Subscriber) -> None:
    entry = {
        "resource": subscription(listening.url, headers=("Authorization: Bearer secret",)),
        "request": {"method": "POST", "url": "Subscription"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = await service.client.post(BASE, content=dumps(bundle), headers=JSON)
    assert answer.status_code == 200, answer.text
    async with service.sending():
        await until(lambda: listening.of_kind("handshake"))
    assert "secret" not in (await service.client.get("Subscription")).text


async def test_every_topic_is_published_and_named_in_the_capability_statement(service: Intake) -> None:
    await publish_fixed(service.engine)
    answer = await service.client.get(
        "Basic", params={"code": "http://hl7.org/fhir/fhir-types|SubscriptionTopic"}
    )
    published = {
        extension["valueUri"]
        for entry in answer.json()["entry"]
        for extension in entry["resource"]["extension"]
        if extension["url"].endswith("SubscriptionTopic.url")
    }
    statement = (await service.client.get("metadata")).json()
    (described,) = [r for r in statement["rest"][0]["resource"] if r["type"] == "Subscription"]
    named = {extension["valueCanonical"] for extension in described["extension"]}
    assert published == named == set(TOPICS)
    assert {"status", "events", "signing-secret"} <= {one["name"] for one in described["operation"]}


async def test_a_referral_that_races_with_a_deletion_is_no_dead_letter(
    service: Intake, listening: Subscriber
) -> None:
    for _ in range(10):
        reference = await subscribe(service, subscription(listening.url))
        await service.write(referral(), 201)
        answers: list[httpx.Response | None] = await asyncio.gather(
            service.client.delete(reference), service.hear_itself()
        )
        assert answers[0] is not None
        assert answers[0].status_code == 204
