"""Appointments, Slots and Procedures that ordinary clients write obey the same rules."""

import asyncio
from typing import Any

import pytest

from kanwa_shared.messaging.envelope import Ack
from tests.support.scheduling import IR, Scheduling, at, concept, coordination_task, service_request

Tree = dict[str, Any]
REASON = concept("http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "pat")


def an_appointment(id: str = "a", start: float = 0, end: float = 1, **changes: Any) -> Tree:
    return {
        "resourceType": "Appointment",
        "id": id,
        "status": "booked",
        "start": at(start),
        "end": at(end),
        "participant": [
            {"actor": {"reference": f"Patient/{id}"}, "status": "accepted"},
            {"actor": {"reference": "Location/suite"}, "status": "accepted"},
            {"actor": {"reference": "PractitionerRole/operator"}, "status": "accepted"},
        ],
        **changes,
    }


async def booked(hospital: Scheduling) -> Tree:
    answer = await hospital.book((await hospital.find())[0])
    assert answer.status_code == 201, answer.text
    return answer.json()


async def statuses(hospital: Scheduling, appointment: Tree) -> set[str]:
    return {(await hospital.read(slot["reference"]))["status"] for slot in appointment["slot"]}


async def procedure_of(hospital: Scheduling, referral: str = "r") -> Tree:
    (procedure,) = await hospital.search("Procedure", based_on=f"ServiceRequest/{referral}")
    return procedure


async def test_an_appointment_put_as_booked_takes_its_actors_and_slots(hospital: Scheduling) -> None:
    await hospital.put(an_appointment(), 201)
    assert (await hospital.find())[0]["start"] == at(1)
    slots = await hospital.search("Slot", schedule="Schedule/suite", status="busy")
    assert [(slot["start"], slot["end"]) for slot in slots] == [(at(0), at(1))]


async def test_an_overlapping_appointment_is_refused_by_name(hospital: Scheduling) -> None:
    await hospital.put(an_appointment(), 201)
    answer = await hospital.put(an_appointment("b", 0.5, 1.5), 409)
    assert "by Appointment/a" in answer.json()["issue"][0]["diagnostics"]
    await hospital.put(an_appointment("c", 1, 2), 201)


async def test_of_many_who_put_the_same_time_one_wins(hospital: Scheduling) -> None:
    answers = await asyncio.gather(*(hospital.put(an_appointment(f"a{n}")) for n in range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 29


async def test_a_time_that_is_closed_is_refused(hospital: Scheduling) -> None:
    await hospital.slot("maintenance", "suite", 5, 6, status="busy-unavailable")
    answer = await hospital.put(an_appointment("b", 5.5, 6.5), 409)
    assert (
        "Slot/maintenance of Schedule/suite is busy-unavailable" in answer.json()["issue"][0]["diagnostics"]
    )


async def test_what_is_over_is_a_record_and_never_collides(hospital: Scheduling) -> None:
    await hospital.put(an_appointment("old", -100, -99), 201)
    await hospital.put(an_appointment("same", -100, -99), 201)


async def test_a_moved_appointment_gives_its_old_time_back(hospital: Scheduling) -> None:
    await hospital.put(an_appointment(), 201)
    await hospital.put(an_appointment("a", 0.5, 1.5), 200)
    free = await hospital.search("Slot", schedule="Schedule/suite", status="free")
    assert sorted((slot["start"], slot["end"]) for slot in free) == [(at(0), at(0.5)), (at(1.5), at(4))]


@pytest.mark.parametrize("status", ["cancelled", "noshow"])
async def test_an_appointment_that_does_not_happen_says_why_and_frees_its_time(
    hospital: Scheduling, status: str
) -> None:
    appointment = await booked(hospital)
    refused = await hospital.put({**appointment, "status": status}, 422)
    assert refused.json()["issue"][0]["expression"] == ["Appointment.cancelationReason"]
    assert await statuses(hospital, appointment) == {"busy"}
    await hospital.put({**appointment, "status": status, "cancelationReason": REASON}, 200)
    assert await statuses(hospital, appointment) == {"free"}
    procedure = await procedure_of(hospital)
    assert procedure["status"] == "preparation"
    assert "location" not in procedure
    assert "performer" not in procedure


async def test_after_a_cancellation_the_referral_is_booked_again_with_the_same_procedure(
    hospital: Scheduling,
) -> None:
    first = await booked(hospital)
    before = await procedure_of(hospital)
    await hospital.put({**first, "status": "cancelled", "cancelationReason": REASON}, 200)
    await booked(hospital)
    after = await procedure_of(hospital)
    assert after["id"] == before["id"]
    assert after["location"]["reference"] == "Location/suite"


async def test_a_change_of_status_outside_the_table_is_refused(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    answer = await hospital.put({**appointment, "status": "fulfilled"}, 422)
    assert "from booked to fulfilled" in answer.json()["issue"][0]["diagnostics"]
    assert (await hospital.read(f"Appointment/{appointment['id']}"))["meta"]["versionId"] == "1"


async def test_a_deleted_appointment_frees_its_time(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    answer = await hospital.client.delete(f"Appointment/{appointment['id']}")
    assert answer.status_code == 204
    assert await statuses(hospital, appointment) == {"free"}
    assert (await hospital.find())[0]["start"] == at(0)


async def test_an_appointment_for_a_referral_obeys_its_decision_and_prepares_the_procedure(
    hospital: Scheduling,
) -> None:
    await hospital.referral("s", accepted=False)
    based_on = [{"reference": "ServiceRequest/s"}]
    await hospital.put(an_appointment(basedOn=based_on), 422)
    await hospital.replicate(coordination_task("s", "accepted"))
    await hospital.put(an_appointment(basedOn=based_on), 201)
    assert (await procedure_of(hospital, "s"))["status"] == "preparation"
    answer = await hospital.put(an_appointment("b", 2, 3, basedOn=based_on), 409)
    assert "has Appointment/a already" in answer.json()["issue"][0]["diagnostics"]


async def test_an_appointment_of_a_referral_that_is_not_known_is_kept(hospital: Scheduling) -> None:
    await hospital.put(an_appointment(basedOn=[{"reference": "ServiceRequest/elsewhere"}]), 201)
    assert await hospital.search("Procedure") == []


async def test_a_promised_appointment_that_overlaps_is_kept_recorded_and_takes_nobody(
    hospital: Scheduling,
) -> None:
    appointment = await booked(hospital)
    assert await hospital.hand_over(an_appointment("promised")) == Ack()
    assert (await hospital.read("Appointment/promised"))["status"] == "booked"
    await hospital.put({**appointment, "status": "cancelled", "cancelationReason": REASON}, 200)
    assert (await hospital.find())[0]["start"] == at(0)
    async with hospital.engine.store.pool.connection() as connection:
        rows = await (
            await connection.execute(
                "SELECT target, resource_type, payload FROM outbox WHERE kind = 'handover'"
            )
        ).fetchall()
    ((target, resource_type, payload),) = rows
    assert (target, resource_type) == ("intake", "DetectedIssue")
    assert f"Appointment/{appointment['id']}" in payload
    assert "Appointment/promised" in payload


# Slots


async def test_a_slot_kept_for_an_appointment_is_neither_freed_nor_deleted(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    slot = await hospital.read("Slot/suite-am")
    answer = await hospital.put({**slot, "status": "free"}, 409)
    assert f"kept for Appointment/{appointment['id']}" in answer.json()["issue"][0]["diagnostics"]
    assert (await hospital.client.delete("Slot/suite-am")).status_code == 409
    await hospital.put({**slot, "comment": "left side"}, 200)


async def test_a_free_slot_over_a_booking_is_refused(hospital: Scheduling) -> None:
    await booked(hospital)
    slot = {
        "resourceType": "Slot",
        "schedule": {"reference": "Schedule/suite"},
        "status": "free",
        "start": at(0.5),
        "end": at(3),
    }
    answer = await hospital.post(slot, 409)
    assert "Location/suite is taken in that time by Appointment/" in answer.json()["issue"][0]["diagnostics"]
    await hospital.post({**slot, "start": at(6), "end": at(7)}, 201)


async def test_a_slot_that_is_removed_is_not_offered(hospital: Scheduling) -> None:
    assert (await hospital.client.delete("Slot/suite-am")).status_code == 204
    assert await hospital.find() == []


# Procedures


async def test_the_appointment_follows_the_procedure_to_its_end(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    reference = f"Appointment/{appointment['id']}"
    await hospital.put({**await procedure_of(hospital), "status": "in-progress"}, 200)
    assert (await hospital.read(reference))["status"] == "arrived"
    performed = {"start": at(0), "end": at(0.5)}
    done = {**await procedure_of(hospital), "status": "completed", "performedPeriod": performed}
    await hospital.put(done, 200)
    assert (await hospital.read(reference))["status"] == "fulfilled"
    free = await hospital.search("Slot", schedule="Schedule/suite", status="free")
    assert sorted((slot["start"], slot["end"]) for slot in free) == [(at(0.5), at(1)), (at(1), at(4))]


async def test_a_procedure_done_before_its_time_gives_all_of_it_back(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    await hospital.put({**await procedure_of(hospital), "status": "in-progress"}, 200)
    done = {**await procedure_of(hospital), "status": "completed"}
    await hospital.put({**done, "performedPeriod": {"start": at(-30), "end": at(-29)}}, 200)
    assert await statuses(hospital, appointment) == {"free"}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ({"text": "coagulopathy"}, "cancelled"),
        (concept("https://kanwa.example/fhir/CodeSystem/cancelation-reason", "no-show"), "noshow"),
    ],
    ids=["a clinical reason", "the patient stayed away"],
)
async def test_a_procedure_that_is_not_done_ends_its_appointment_with_the_reason(
    hospital: Scheduling, reason: Tree, status: str
) -> None:
    appointment = await booked(hospital)
    procedure = {**await procedure_of(hospital), "status": "not-done"}
    refused = await hospital.put(procedure, 422)
    assert refused.json()["issue"][0]["expression"] == ["Procedure.statusReason"]
    await hospital.put({**procedure, "statusReason": reason}, 200)
    ended = await hospital.read(f"Appointment/{appointment['id']}")
    assert (ended["status"], ended["cancelationReason"]) == (status, reason)
    assert await statuses(hospital, appointment) == {"free"}


async def test_after_a_procedure_was_not_done_a_new_booking_prepares_another(hospital: Scheduling) -> None:
    await booked(hospital)
    ended = {**await procedure_of(hospital), "status": "not-done", "statusReason": {"text": "fever"}}
    await hospital.put(ended, 200)
    await booked(hospital)
    procedures = await hospital.search("Procedure", based_on="ServiceRequest/r")
    assert sorted(procedure["status"] for procedure in procedures) == ["not-done", "preparation"]


async def test_a_procedure_is_not_completed_before_it_was_started(hospital: Scheduling) -> None:
    await booked(hospital)
    answer = await hospital.put(
        {**await procedure_of(hospital), "status": "completed", "performedDateTime": at(0)}
    )
    assert answer.status_code == 422
    assert "from preparation to completed" in answer.json()["issue"][0]["diagnostics"]


def a_procedure(**changes: Any) -> Tree:
    return {
        "resourceType": "Procedure",
        "status": "in-progress",
        "code": concept(IR, "paracentesis"),
        "subject": {"reference": "Patient/p-r"},
        **changes,
    }


async def test_an_ir_procedure_needs_an_active_referral(hospital: Scheduling) -> None:
    answer = await hospital.post(a_procedure(), 422)
    assert answer.json()["issue"][0]["expression"] == ["Procedure.basedOn"]
    await hospital.replicate(service_request("gone", status="revoked"))
    await hospital.post(a_procedure(basedOn=[{"reference": "ServiceRequest/gone"}]), 422)
    await hospital.post(a_procedure(basedOn=[{"reference": "ServiceRequest/nowhere"}]), 422)
    await hospital.post(a_procedure(basedOn=[{"reference": "ServiceRequest/r"}]), 201)


async def test_a_second_open_procedure_of_a_referral_is_refused(hospital: Scheduling) -> None:
    await booked(hospital)
    answer = await hospital.post(a_procedure(basedOn=[{"reference": "ServiceRequest/r"}]), 409)
    assert answer.json()["issue"][0]["code"] == "duplicate"


@pytest.mark.parametrize(
    "record",
    [
        {"status": "completed", "code": {"text": "Appendectomy"}},
        {"status": "preparation", "code": {"text": "Counselling"}},
        {
            "status": "completed",
            "code": {"text": "Biopsy"},
            "basedOn": [{"reference": "ServiceRequest/unknown"}],
        },
        {"status": "not-done", "code": {"text": "Dialysis"}},
    ],
    ids=["done elsewhere", "planned elsewhere", "for an unknown referral", "not done elsewhere"],
)
async def test_the_dossier_may_hold_any_other_procedure(hospital: Scheduling, record: Tree) -> None:
    await hospital.post(a_procedure(**record), 201)


# Referrals that end


async def test_a_revoked_referral_frees_the_booking_and_calls_the_procedure_off(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    await hospital.replicate(service_request("r", status="revoked"))
    ended = await hospital.read(f"Appointment/{appointment['id']}")
    assert ended["status"] == "cancelled"
    assert ended["cancelationReason"]["coding"][0]["code"] == "referral-ended"
    assert await statuses(hospital, appointment) == {"free"}
    procedure = await procedure_of(hospital)
    assert procedure["status"] == "not-done"
    assert procedure["statusReason"]["coding"][0]["code"] == "referral-ended"


async def test_a_revoked_referral_releases_a_hold(hospital: Scheduling) -> None:
    held = (await hospital.hold((await hospital.find())[0])).json()
    await hospital.replicate(service_request("r", status="revoked"))
    assert (await hospital.read(f"Appointment/{held['id']}"))["status"] == "cancelled"
    assert await statuses(hospital, held) == {"free"}


async def test_a_rejected_task_frees_the_booking_unless_another_site_accepted(hospital: Scheduling) -> None:
    appointment = await booked(hospital)
    await hospital.replicate(coordination_task("r", "accepted", id="other-site"))
    await hospital.replicate(coordination_task("r", "rejected"))
    assert await statuses(hospital, appointment) == {"busy"}
    await hospital.replicate(coordination_task("r", "cancelled", id="other-site"))
    assert await statuses(hospital, appointment) == {"free"}


async def test_a_patient_who_has_come_is_not_sent_away_by_a_message(hospital: Scheduling) -> None:
    await booked(hospital)
    await hospital.put({**await procedure_of(hospital), "status": "in-progress"}, 200)
    await hospital.replicate(service_request("r", status="revoked"))
    assert (await procedure_of(hospital))["status"] == "in-progress"
