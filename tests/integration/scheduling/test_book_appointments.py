"""`Appointment/$hold` and `$book` over HTTP, races included."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.scheduling import (
    IR,
    Scheduling,
    at,
    concept,
    coordination_task,
    practitioner_role,
    running,
    service_request,
)


async def free_time(hospital: Scheduling, schedule: str) -> list[tuple[str, str]]:
    """What an outside client reads as free in a Schedule."""
    slots = await hospital.search("Slot", schedule=f"Schedule/{schedule}", status="free")
    return sorted((slot["start"], slot["end"]) for slot in slots)


def starting(candidates: list[dict[str, Any]], start: str) -> dict[str, Any]:
    return next(candidate for candidate in candidates if candidate["start"] == start)


async def test_a_booking_answers_201_with_the_appointment_its_etag_and_location(hospital: Scheduling) -> None:
    answer = await hospital.book((await hospital.find())[0])
    assert answer.status_code == 201, answer.text
    booked = answer.json()
    assert (booked["resourceType"], booked["status"]) == ("Appointment", "booked")
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["location"].endswith(f"/Appointment/{booked['id']}/_history/1")
    assert await hospital.read(f"Appointment/{booked['id']}") == booked
    assert {participant["status"] for participant in booked["participant"]} == {"accepted"}


async def test_free_slots_show_no_time_that_is_taken(hospital: Scheduling) -> None:
    booked = (await hospital.book(starting(await hospital.find(), at(1)))).json()
    for schedule in ("suite", "operator"):
        assert await free_time(hospital, schedule) == [(at(0), at(1)), (at(2), at(4))]
    for reference in booked["slot"]:
        slot = await hospital.read(reference["reference"])
        assert (slot["status"], slot["start"], slot["end"]) == ("busy", at(1), at(2))
    assert {slot["reference"] for slot in booked["slot"]} == {"Slot/suite-am", "Slot/operator-am"}


async def test_a_booking_prepares_one_procedure_of_the_referral(hospital: Scheduling) -> None:
    await hospital.book((await hospital.find())[0])
    (procedure,) = await hospital.search("Procedure", based_on="ServiceRequest/r")
    assert procedure["status"] == "preparation"
    assert procedure["code"] == concept(IR, "paracentesis")
    assert procedure["subject"] == {"reference": "Patient/p-r"}
    assert procedure["location"]["reference"] == "Location/suite"
    assert [p["actor"]["reference"] for p in procedure["performer"]] == ["PractitionerRole/operator"]


async def test_of_a_hundred_who_book_the_same_time_one_gets_201(hospital: Scheduling) -> None:
    """A hundred referrals want the same suite and operator at the same time."""
    wanted = (await hospital.find())[0]
    for number in range(100):
        await hospital.referral(f"n{number}", priority="stat")
    answers = await asyncio.gather(
        *(
            hospital.book(
                {
                    **wanted,
                    "basedOn": [{"reference": f"ServiceRequest/n{number}"}],
                    "participant": [
                        {**wanted["participant"][0], "actor": {"reference": f"Patient/p-n{number}"}},
                        *wanted["participant"][1:],
                    ],
                }
            )
            for number in range(100)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(set(statuses)) == [201, 409], {s: statuses.count(s) for s in statuses}
    assert statuses.count(201) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["issue"][0]["code"] == "conflict"
    assert len(await hospital.search("Appointment", status="booked")) == 1
    assert len(await hospital.search("Procedure")) == 1


async def test_the_same_referral_booked_many_times_at_once_is_booked_once(hospital: Scheduling) -> None:
    candidates = await hospital.find()
    answers = await asyncio.gather(*(hospital.book(candidates[n % len(candidates)]) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len(await hospital.search("Procedure", based_on="ServiceRequest/r")) == 1


async def test_the_loser_is_told_which_appointment_and_slot_are_in_the_way(hospital: Scheduling) -> None:
    await hospital.referral("s")
    wanted = (await hospital.find("s"))[0]
    booked = (await hospital.book((await hospital.find())[0])).json()
    answer = await hospital.book(wanted)
    assert answer.status_code == 409
    told = [issue["diagnostics"] for issue in answer.json()["issue"]]
    assert all(issue["code"] == "conflict" for issue in answer.json()["issue"])
    assert any(
        f"Location/suite is taken from {at(0)} to {at(1)} by Appointment/{booked['id']}" in t for t in told
    )
    assert any("Slot/operator-am of Schedule/operator is busy" in t for t in told)


async def test_times_side_by_side_in_one_slot_are_booked_together(hospital: Scheduling) -> None:
    for id in ("s", "t", "u"):
        await hospital.referral(id)
    wanted = [starting(await hospital.find(id), at(n)) for n, id in enumerate(("r", "s", "t", "u"))]
    answers = await asyncio.gather(*(hospital.book(appointment) for appointment in wanted))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert await free_time(hospital, "suite") == []
    assert len(await hospital.search("Slot", schedule="Schedule/suite", status="busy")) == 4


async def test_a_second_appointment_of_a_referral_is_refused(hospital: Scheduling) -> None:
    candidates = await hospital.find()
    first = (await hospital.book(candidates[0])).json()
    answer = await hospital.book(starting(candidates, at(2)))
    assert answer.status_code == 409
    assert f"Appointment/{first['id']}" in answer.json()["issue"][0]["diagnostics"]


async def test_a_hold_is_pending_with_tentative_slots_and_says_when_it_ends(hospital: Scheduling) -> None:
    answer = await hospital.hold((await hospital.find())[0])
    assert answer.status_code == 201, answer.text
    held = answer.json()
    assert held["status"] == "pending"
    (extension,) = held["extension"]
    expires = datetime.fromisoformat(extension["valueInstant"])
    assert timedelta(minutes=14) < expires - datetime.now(UTC) <= timedelta(minutes=15)
    for reference in held["slot"]:
        assert (await hospital.read(reference["reference"]))["status"] == "busy-tentative"
    assert await hospital.search("Procedure") == []


async def test_a_held_time_is_not_offered_and_not_booked_by_another(hospital: Scheduling) -> None:
    await hospital.referral("s")
    wanted = (await hospital.find("s"))[0]
    await hospital.hold((await hospital.find())[0])
    assert (await hospital.find("s"))[0]["start"] == at(1)
    assert (await hospital.book(wanted)).status_code == 409


@pytest.mark.parametrize("asked_with", ["the held one", "its reference", "the proposal"])
async def test_a_hold_is_booked_in_place(hospital: Scheduling, asked_with: str) -> None:
    proposal = (await hospital.find())[0]
    held = (await hospital.hold(proposal)).json()
    if asked_with == "its reference":
        reference = {"reference": f"Appointment/{held['id']}"}
        answer = await hospital.call("book", {"name": "appt-reference", "valueReference": reference})
    else:
        answer = await hospital.book(held if asked_with == "the held one" else proposal)
    assert answer.status_code == 200, answer.text
    booked = answer.json()
    assert (booked["id"], booked["status"], booked["meta"]["versionId"]) == (held["id"], "booked", "2")
    assert "extension" not in booked
    for reference in booked["slot"]:
        assert (await hospital.read(reference["reference"]))["status"] == "busy"
    assert len(await hospital.search("Procedure", based_on="ServiceRequest/r")) == 1


async def test_a_hold_is_not_held_again(hospital: Scheduling) -> None:
    held = (await hospital.hold((await hospital.find())[0])).json()
    answer = await hospital.hold(held)
    assert answer.status_code == 409


async def test_a_hold_that_ran_out_is_cancelled_and_its_time_is_free(scheduling_database: str) -> None:
    async with running(scheduling_database, hold_minutes=0.002) as hospital:
        await hospital.small_hospital()
        await hospital.referral()
        await hospital.referral("s")
        held = (await hospital.hold((await hospital.find())[0])).json()
        await _expired(hospital, held)
        late = await hospital.book(held)
        assert late.status_code == 409
        assert "hold ran out" in late.json()["issue"][0]["diagnostics"]
        ended = await hospital.read(f"Appointment/{held['id']}")
        assert ended["status"] == "cancelled"
        assert ended["cancelationReason"]["coding"][0]["code"] == "hold-expired"
        assert (await hospital.book((await hospital.find("s"))[0])).status_code == 201


async def test_the_periodic_job_releases_holds_that_nobody_asks_about(scheduling_database: str) -> None:
    async with running(scheduling_database, hold_minutes=0.002) as hospital:
        await hospital.small_hospital()
        await hospital.referral()
        held = (await hospital.hold((await hospital.find())[0])).json()
        await _expired(hospital, held)
        await hospital.periodic("release expired holds")
        assert (await hospital.read(f"Appointment/{held['id']}"))["status"] == "cancelled"
        assert await free_time(hospital, "suite") == [(at(0), at(1)), (at(1), at(4))]


async def _expired(hospital: Scheduling, held: dict[str, Any]) -> None:
    """Wait until the hold's own end has passed."""
    end = datetime.fromisoformat(held["extension"][0]["valueInstant"])
    while datetime.now(UTC) <= end + timedelta(milliseconds=1):  # noqa: ASYNC110  # a clock has no event to wait for
        await asyncio.sleep(0.01)


async def test_a_referral_that_is_not_accepted_is_not_booked(scheduling: Scheduling) -> None:
    await scheduling.small_hospital()
    await scheduling.referral(accepted=False)
    answer = await scheduling.book((await scheduling.find())[0])
    assert answer.status_code == 422
    assert "its coordination Task is received" in answer.json()["issue"][0]["diagnostics"]


async def test_a_decision_that_is_on_its_way_is_waited_for(scheduling_database: str) -> None:
    async with running(scheduling_database, replica_wait_seconds=30) as hospital:
        await hospital.small_hospital()
        await hospital.replicate(service_request("r"))
        booking = asyncio.create_task(hospital.book((await hospital.find())[0]))
        await hospital.replicate(coordination_task("r", "received"))
        assert not booking.done()
        await hospital.replicate(coordination_task("r", "accepted"))
        assert (await booking).status_code == 201


async def test_a_rejected_referral_is_refused_without_waiting(scheduling_database: str) -> None:
    async with running(scheduling_database, replica_wait_seconds=30) as hospital:
        await hospital.small_hospital()
        await hospital.replicate(service_request("r"))
        await hospital.replicate(coordination_task("r", "rejected"))
        async with asyncio.timeout(10):
            assert (await hospital.book((await hospital.find())[0])).status_code == 422


async def test_an_emergency_is_booked_before_any_decision(scheduling: Scheduling) -> None:
    await scheduling.small_hospital()
    await scheduling.replicate(service_request("r", priority="stat"))
    assert (await scheduling.book((await scheduling.find())[0])).status_code == 201


async def test_one_person_in_two_roles_is_booked_once_at_a_time(hospital: Scheduling) -> None:
    await hospital.replicate(practitioner_role("elsewhere", person="dr-operator"))
    await hospital.put({"resourceType": "Location", "id": "suite-2"}, 201)
    await hospital.actor("Location/suite-2", "paracentesis")
    await hospital.actor("PractitionerRole/elsewhere", "paracentesis")
    await hospital.slot("suite-2-am", "suite-2", 0, 4)
    await hospital.slot("elsewhere-am", "elsewhere", 0, 4)
    await hospital.referral("s")
    mine = {"name": "practitioner", "valueReference": {"reference": "PractitionerRole/operator"}}
    theirs = {"name": "practitioner", "valueReference": {"reference": "PractitionerRole/elsewhere"}}
    rival = (await hospital.find("s", theirs))[0]
    assert (await hospital.book((await hospital.find("r", mine))[0])).status_code == 201
    assert (await hospital.find("s", theirs))[0]["start"] == at(1)
    assert (await hospital.book(rival)).status_code == 409
    assert await free_time(hospital, "elsewhere") == [(at(1), at(4))]


async def test_the_names_of_ihe_are_answered_with_its_bundle(hospital: Scheduling) -> None:
    held = await hospital.call(
        "hold", {"name": "appointment-resource", "resource": (await hospital.find())[0]}
    )
    assert held.status_code == 201
    bundle = held.json()
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 1)
    (entry,) = bundle["entry"]
    assert entry["resource"]["status"] == "pending"
    reference = {"reference": f"Appointment/{entry['resource']['id']}"}
    booked = await hospital.call(
        "book",
        {"name": "appointment-reference", "valueReference": reference},
        {"name": "comment", "valueString": "fasting from midnight"},
    )
    assert booked.status_code == 200
    appointment = booked.json()["entry"][0]["resource"]
    assert (appointment["status"], appointment["comment"]) == ("booked", "fasting from midnight")
    assert (await hospital.read(f"Appointment/{appointment['id']}")) == appointment


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"status": "booked"}, 422, "cannot be held or booked"),
        ({"basedOn": []}, 422, "basedOn"),
        ({"start": at(-100), "end": at(-99)}, 422, "has passed"),
        ({"start": at(9), "end": at(10)}, 409, "no free Slot"),
        ({"start": at(3.5), "end": at(4.5)}, 409, "no free Slot"),
        ({"serviceType": [concept(IR, "vertebroplasty")]}, 422, "operator whose Schedule.serviceType"),
    ],
    ids=["booked already", "no referral", "in the past", "off duty", "half off duty", "no skill"],
)
async def test_what_cannot_be_booked_is_refused_with_the_reason(
    hospital: Scheduling, change: dict[str, Any], status: int, told: str
) -> None:
    wanted = {
        name: content for name, content in {**(await hospital.find())[0], **change}.items() if content != []
    }
    answer = await hospital.book(wanted)
    assert answer.status_code == status, answer.text
    assert told in answer.json()["issue"][0]["diagnostics"]
    assert await hospital.search("Appointment") == []


async def test_another_patients_appointment_is_not_booked_for_the_referral(hospital: Scheduling) -> None:
    wanted = (await hospital.find())[0]
    wanted["participant"][0]["actor"] = {"reference": "Patient/somebody-else"}
    answer = await hospital.book(wanted)
    assert answer.status_code == 422
    assert "another patient" in answer.json()["issue"][0]["diagnostics"]


async def test_a_booking_needs_exactly_one_appointment(hospital: Scheduling) -> None:
    answer = await hospital.call("book", {"name": "comment", "valueString": "please"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["code"] == "required"
