"""From a completed procedure to the summary, over a real database, events delivered as the broker would."""

import asyncio
import random
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest

from kanwa_outcomes.domain.performed import read_performed
from kanwa_outcomes.domain.summary import summary_id
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue, measures
from kanwa_shared.clinical.length_of_stay import LENGTH_OF_STAY_URL
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Ack
from tests.support.outcomes import day, observation, procedure, request, text
from tests.support.outcomes_service import Outcomes

Tree = dict[str, Any]
BEFORE, DAY_1, DAY_7 = day(-1), day(1), day(7)
PART_OF = [{"reference": "Procedure/x"}]


async def done(outcomes: Outcomes, code: str = "vertebroplasty") -> None:
    """A referral whose procedure is completed."""
    await outcomes.replicate(request(code))
    await outcomes.replicate(procedure(code), service="scheduling")
    await outcomes.settle()


async def measure(outcomes: Outcomes, value: float, when: Any, **more: Any) -> Tree:
    tree = observation(value, when, **more)
    answer = await outcomes.write(tree)
    assert answer.status_code in (200, 201), answer.text
    await outcomes.settle()
    return answer.json()


def code_of(observation: Tree) -> str:
    return observation["valueCodeableConcept"]["coding"][0]["code"]


def summary_text(outcomes: Outcomes) -> str:
    (document,) = outcomes.of_type("DocumentReference")
    return b64decode(document["content"][0]["attachment"]["data"]).decode()


async def test_a_procedure_whose_patient_is_not_named_by_reference_is_taken_and_derives_nothing(
    outcomes: Outcomes,
) -> None:
    for subject in ({"identifier": {"value": "4711"}}, {"display": "Tanaka"}):
        await outcomes.replicate(procedure(subject=subject, id=next(iter(subject))), service="scheduling")
        await outcomes.settle()
    assert await outcomes.derived() == []


async def test_a_completed_procedure_plans_its_follow_up_once(outcomes: Outcomes) -> None:
    await outcomes.replicate(request())
    await outcomes.replicate(procedure(), service="scheduling", times=3)
    await outcomes.settle()
    await outcomes.replicate(procedure(note=[{"text": "seen"}]), service="scheduling")
    await outcomes.settle()
    tasks = outcomes.of_type("Task")
    assert len(tasks) == len(catalogue()["vertebroplasty"].follow_up_days)
    assert all(codes.has_coding(task["code"], codes.TASK, "follow-up") for task in tasks)


async def test_pain_8_before_and_3_on_day_7_is_significantly_effective_and_closes_the_loop(
    outcomes: Outcomes,
) -> None:
    before = await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    assert outcomes.of_type("DocumentReference") == []
    after = await measure(outcomes, 3, DAY_7, partOf=PART_OF)
    (derived,) = await outcomes.derived()
    assert code_of(derived) == "SE"
    assert derived["derivedFrom"] == [
        {"reference": f"Observation/{before['id']}"},
        {"reference": f"Observation/{after['id']}"},
    ]
    (document,) = outcomes.of_type("DocumentReference")
    assert codes.has_coding(document["type"], codes.DOCUMENT_TYPE, "referral-summary")
    assert {r["reference"] for r in document["context"]["related"]} == {"ServiceRequest/r", "Procedure/x"}
    assert "Significantly effective (SE)" in summary_text(outcomes)


async def test_pain_as_an_integer_that_names_neither_procedure_nor_request_counts(outcomes: Outcomes) -> None:
    await done(outcomes)
    await measure(outcomes, 0, BEFORE, valueQuantity={"value": 8})
    tree = observation(None, DAY_7, valueInteger=3)
    await outcomes.write(tree, 201)
    await outcomes.settle()
    assert code_of((await outcomes.derived())[0]) == "SE"


async def test_pain_on_day_1_alone_closes_nothing(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await measure(outcomes, 2, DAY_1)
    assert await outcomes.derived() == []
    assert outcomes.of_type("DocumentReference") == []
    (early,) = await outcomes.derived("response-at-follow-up")
    assert code_of(early) == "SE"


async def test_a_measurement_completes_the_follow_up_task_of_its_day(outcomes: Outcomes) -> None:
    await done(outcomes)
    written = await measure(outcomes, 3, DAY_7)
    completed = [task for task in outcomes.of_type("Task") if task["status"] == "completed"]
    assert [task["output"][0]["valueReference"]["reference"] for task in completed] == [
        f"Observation/{written['id']}"
    ]


async def test_an_amended_score_changes_the_class_and_the_summary_once(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    after = await measure(outcomes, 7, DAY_7)
    assert code_of((await outcomes.derived())[0]) == "NE"
    await measure(outcomes, 3, DAY_7, id=after["id"], status="amended")
    (derived,) = await outcomes.derived()
    assert (code_of(derived), derived["status"], derived["meta"]["versionId"]) == ("SE", "amended", "2")
    assert outcomes.events[f"Observation/{derived['id']}"] == 2
    assert "(SE)" in summary_text(outcomes)


async def test_a_score_entered_in_error_takes_its_class_back(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    after = await measure(outcomes, 3, DAY_7)
    await measure(outcomes, 3, DAY_7, id=after["id"], status="entered-in-error")
    (derived,) = await outcomes.derived()
    assert derived["status"] == "entered-in-error"


async def test_a_deleted_score_takes_its_class_back(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    after = await measure(outcomes, 3, DAY_7)
    answer = await outcomes.client.delete(f"Observation/{after['id']}")
    assert answer.is_success
    await outcomes.settle()
    (derived,) = await outcomes.derived()
    assert derived["status"] == "entered-in-error"


async def test_an_overdue_loop_closes_as_not_evaluable_and_a_late_value_still_counts(
    outcomes: Outcomes,
) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await outcomes.close_overdue(after=timedelta(hours=1))
    assert outcomes.of_type("DocumentReference") == []
    await outcomes.close_overdue(after=timedelta(days=3650))
    assert code_of((await outcomes.derived())[0]) == "NA"
    assert "Not evaluable (NA)" in summary_text(outcomes)
    await measure(outcomes, 3, DAY_7)
    assert code_of((await outcomes.derived())[0]) == "SE"
    assert "Significantly effective (SE)" in summary_text(outcomes)


async def test_a_baseline_of_2_has_no_class_and_is_flagged(outcomes: Outcomes) -> None:
    await measure(outcomes, 2, BEFORE)
    await done(outcomes)
    await measure(outcomes, 1, DAY_7)
    assert code_of((await outcomes.derived())[0]) == "NA"
    (issue,) = outcomes.of_type("DetectedIssue")
    assert codes.has_coding(issue["code"], codes.DETECTED_ISSUE, "baseline-too-low")


async def test_a_procedure_entered_in_error_takes_back_class_tasks_and_summary(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await measure(outcomes, 3, DAY_7)
    await outcomes.replicate(procedure(status="entered-in-error"), service="scheduling")
    await outcomes.settle()
    (derived,) = await outcomes.derived()
    assert derived["status"] == "entered-in-error"
    assert outcomes.of_type("DocumentReference")[0]["status"] == "entered-in-error"
    assert {task["status"] for task in outcomes.of_type("Task")} == {"completed", "cancelled"}


async def test_a_follow_up_that_another_change_kept_open_is_called_off_when_that_arrives(
    outcomes: Outcomes,
) -> None:
    await done(outcomes)
    task = outcomes.of_type("Task")[0]
    await outcomes.replicate(procedure(status="entered-in-error"), service="scheduling")
    await outcomes.settle()
    kept_open = await outcomes.replicate({**task, "status": "in-progress", "owner": {"display": "Dr Aoki"}})
    await outcomes.settle()
    called_off = outcomes.handed_over[f"Task/{task['id']}"]
    assert (called_off["status"], called_off["owner"]) == ("cancelled", {"display": "Dr Aoki"})
    async with outcomes.engine.store.pool.connection() as connection:
        sent = await connection.execute(
            "SELECT version FROM outbox WHERE resource_id = %s AND interaction = 'update' ORDER BY id",
            (task["id"],),
        )
        bases = [row[0] for row in await sent.fetchall()]
    assert bases[-1] == kept_open.version, "it says of which version it was made"
    assert None not in bases


async def test_an_adverse_event_after_the_summary_is_added_to_it(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await measure(outcomes, 3, DAY_7)
    event = {
        "resourceType": "AdverseEvent",
        "actuality": "actual",
        "event": {"text": "Puncture-site bleed"},
        "severity": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/adverse-event-severity", "code": "severe"}
            ],
            "text": "CTCAE v3 grade 3",
        },
        "subject": {"reference": "Patient/p"},
        "date": text(DAY_1),
        "suspectEntity": [{"instance": {"reference": "Procedure/x"}}],
    }
    await outcomes.write(event, 201)
    await outcomes.settle()
    assert "Puncture-site bleed (CTCAE v3 grade 3" in summary_text(outcomes)


async def test_the_length_of_stay_comes_from_the_encounter_and_is_never_guessed(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await outcomes.replicate(request())
    await outcomes.replicate(procedure(encounter={"reference": "Encounter/e"}), service="scheduling")
    await measure(outcomes, 3, DAY_7)
    assert "Length of stay: ask site" in summary_text(outcomes)
    stay = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p"},
        "period": {"start": text(day(-1)), "end": text(day(1))},
    }
    await outcomes.replicate(stay)
    await outcomes.settle()
    assert "Length of stay: 2 d" in summary_text(outcomes)


async def test_the_summary_tells_the_length_of_stay_that_the_site_states(outcomes: Outcomes) -> None:
    stated = {
        "url": LENGTH_OF_STAY_URL,
        "extension": [
            {"url": "procedure", "valueCode": "vertebroplasty"},
            {"url": "medianDays", "valueDecimal": 2},
        ],
    }
    hospital = {"resourceType": "Location", "id": "hospital", "extension": [stated]}
    suite = {"resourceType": "Location", "id": "suite", "partOf": {"reference": "Location/hospital"}}
    for place in (hospital, suite):
        await outcomes.replicate(place, service="scheduling")
    await measure(outcomes, 8, BEFORE)
    await outcomes.replicate(request())
    await outcomes.replicate(procedure(location={"reference": "Location/suite"}), service="scheduling")
    await measure(outcomes, 3, DAY_7)
    assert "Length of stay expected at this site: median 2 d" in summary_text(outcomes)


@pytest.mark.parametrize(
    ("code", "before", "after", "kind", "expected"),
    [
        ("paracentesis", 7, 3, "symptom-response", "improved"),
        ("thoracentesis", 6, 6, "symptom-response", "not-improved"),
        ("biliary-stent", 14.2, 6.1, "measured-change", None),
        ("emergency-embolization", 0, 0, "bleeding-control", "no-rebleeding"),
    ],
)
async def test_the_other_groups_close_with_their_own_measure(
    outcomes: Outcomes, code: str, before: float, after: float, kind: str, expected: str | None
) -> None:
    primary = catalogue()[code].primary_measure
    await measure(outcomes, before, BEFORE, measure=primary)
    await done(outcomes, code)
    await measure(outcomes, after, DAY_7, measure=primary)
    (derived,) = await outcomes.derived(kind)
    if expected is None:
        assert derived["valueQuantity"]["value"] == -8.1
    else:
        assert code_of(derived) == expected
    assert len(outcomes.of_type("DocumentReference")) == 1


async def test_a_measure_posted_by_its_local_code_counts(outcomes: Outcomes) -> None:
    await done(outcomes, "nephrostomy")
    local = codes.concept(codes.MEASURE, "creatinine")
    await measure(outcomes, 4.8, BEFORE, measure=measures()["creatinine"], code=local)
    await measure(outcomes, 1.6, DAY_7, measure=measures()["creatinine"])
    (derived,) = await outcomes.derived("measured-change")
    assert derived["valueQuantity"]["value"] == -3.2


async def test_a_procedure_outside_the_catalogue_closes_at_once_if_a_referral_is_behind_it(
    outcomes: Outcomes,
) -> None:
    free_text = {"text": "Cordotomy"}
    await outcomes.replicate({**request(), "code": free_text})
    await outcomes.replicate({**procedure(), "code": free_text}, service="scheduling")
    await outcomes.settle()
    assert outcomes.of_type("DocumentReference") == []
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "accepted",
        "intent": "order",
        "code": codes.concept(codes.TASK_CODE, "fulfill"),
        "focus": {"reference": "ServiceRequest/r"},
        "for": {"reference": "Patient/p"},
    }
    await outcomes.replicate(task)
    await outcomes.settle()
    assert "Procedure: Cordotomy" in summary_text(outcomes)


async def test_procedures_of_the_dossier_are_left_alone(outcomes: Outcomes) -> None:
    await outcomes.replicate(
        {**procedure(), "code": {"text": "Appendectomy"}, "basedOn": []}, service="scheduling"
    )
    await outcomes.settle()
    assert outcomes.handed_over == {}


STEPS = ("request", "procedure", "before", "wrong", "week 1", "amended", "withdrawn", "day 1")


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_and_duplication_converges_to_the_same_result(outcomes: Outcomes, seed: int) -> None:
    chance = random.Random(seed)
    order = chance.sample(STEPS, len(STEPS))
    # Versions of one resource come in their order; the rest as it likes.
    for earlier, later in (("week 1", "amended"), ("wrong", "withdrawn")):
        first, second = sorted((order.index(earlier), order.index(later)))
        order[first], order[second] = earlier, later
    for step in order:
        await take(outcomes, step, times=chance.randint(1, 3))
        if chance.random() < 0.5:
            await outcomes.settle(times=chance.randint(1, 2))
    await outcomes.settle()
    (derived,) = await outcomes.derived()
    assert (code_of(derived), derived["status"]) == ("SE", "amended")
    assert derived["derivedFrom"] == [
        {"reference": "Observation/before"},
        {"reference": "Observation/week-1"},
    ]
    (early,) = await outcomes.derived("response-at-follow-up")
    assert code_of(early) == "ME"
    assert "Significantly effective (SE)" in summary_text(outcomes)
    done_tasks = [task for task in outcomes.of_type("Task") if task["status"] == "completed"]
    assert len(done_tasks) == 2
    versions = {f"Observation/{t['id']}": int(t["meta"]["versionId"]) for t in (derived, early)}
    assert {reference: outcomes.events[reference] for reference in versions} == versions


async def take(outcomes: Outcomes, step: str, *, times: int) -> None:
    match step:
        case "request":
            await outcomes.replicate(request(), times=times)
        case "procedure":
            await outcomes.replicate(procedure(), service="scheduling", times=times)
        case "before":
            await outcomes.write(observation(8, BEFORE, id="before"), 201)
        case "wrong":
            await outcomes.write(observation(9, day(6.9), id="wrong"), 201)
        case "withdrawn":
            await outcomes.write(observation(9, day(6.9), id="wrong", status="entered-in-error"), 200)
        case "week 1":
            await outcomes.write(observation(7, DAY_7, id="week-1"), 201)
        case "amended":
            await outcomes.write(observation(3, DAY_7, id="week-1", status="amended"), 200)
        case _:
            await outcomes.write(observation(5, DAY_1, id="day-1"), 201)


async def test_measurements_written_at_once_are_all_seen(outcomes: Outcomes) -> None:
    await done(outcomes)
    pairs = [(8, BEFORE), (6, DAY_1), (3, DAY_7), (4, day(28))]
    await asyncio.gather(*(outcomes.write(observation(value, when), 201) for value, when in pairs))
    await outcomes.settle()
    assert code_of((await outcomes.derived())[0]) == "SE"
    assert len(await outcomes.derived("response-at-follow-up")) == 2


async def test_pain_off_its_scale_is_refused_with_what_to_send(outcomes: Outcomes) -> None:
    answer = await outcomes.write(observation(None, DAY_7, valueInteger=11), 422)
    (issue,) = answer.json()["issue"]
    assert issue["expression"] == ["Observation.value"]
    assert "from 0 to 10" in issue["diagnostics"]


async def test_an_outcome_cannot_be_written_changed_or_deleted_by_a_client(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await measure(outcomes, 3, DAY_7)
    (derived,) = await outcomes.derived()
    by_hand = {name: value for name, value in derived.items() if name not in {"id", "meta"}}
    await outcomes.write(by_hand, 422)
    await outcomes.write({**derived, "code": codes.loinc("72514-3")}, 422)
    answer = await outcomes.client.delete(f"Observation/{derived['id']}")
    assert answer.status_code == 422
    assert code_of((await outcomes.derived())[0]) == "SE"


async def test_a_status_that_cannot_follow_is_refused(outcomes: Outcomes) -> None:
    await outcomes.write(observation(8, BEFORE, id="o"), 201)
    answer = await outcomes.write(observation(8, BEFORE, id="o", status="preliminary"), 422)
    assert answer.json()["issue"][0]["expression"] == ["Observation.status"]


async def test_an_adverse_event_cannot_be_deleted(outcomes: Outcomes) -> None:
    event = {"resourceType": "AdverseEvent", "actuality": "actual", "subject": {"reference": "Patient/p"}}
    written = (await outcomes.write(event, 201)).json()
    answer = await outcomes.client.delete(f"AdverseEvent/{written['id']}")
    assert answer.status_code == 409
    assert (await outcomes.client.get(f"AdverseEvent/{written['id']}")).status_code == 200


async def test_a_promised_value_off_its_scale_is_kept_reported_and_not_used(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    wrong = observation(None, DAY_7, valueInteger=11, id="promised")
    assert await outcomes.hand_over(wrong) == Ack()
    await outcomes.settle()
    assert (await outcomes.client.get("Observation/promised")).status_code == 200
    (issue,) = outcomes.of_type("DetectedIssue")
    assert codes.has_coding(issue["code"], codes.DETECTED_ISSUE, "value-out-of-range")
    assert await outcomes.derived() == []


async def test_the_summary_has_the_id_that_follows_from_the_procedure(outcomes: Outcomes) -> None:
    await measure(outcomes, 8, BEFORE)
    await done(outcomes)
    await measure(outcomes, 3, DAY_7)
    expected = summary_id(read_performed("Procedure/x", procedure(), None))
    assert [tree["id"] for tree in outcomes.of_type("DocumentReference")] == [expected]
    assert len(dumps(outcomes.of_type("DocumentReference")[0])) < 4000
