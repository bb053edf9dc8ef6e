"""Whatever many clients do at once, nobody is booked twice, free Slots tell the truth and no time is lost."""

import asyncio
import random
from collections import defaultdict
from datetime import datetime
from typing import Any

import pytest

from kanwa_scheduling.application import take_time
from tests.support.scheduling import Scheduling, at, concept

UNDER_WAY = {"pending", "booked", "checked-in", "arrived"}
REASON = concept("https://kanwa.example/fhir/CodeSystem/cancelation-reason", "no-show")
CLIENTS, STEPS = 12, 5


async def a_client(hospital: Scheduling, number: int, chance: random.Random) -> None:
    """One referral's owner: holds, books, cancels, moves and calls off at random, minding no refusal."""
    appointment: dict[str, Any] | None = None
    for _ in range(STEPS):
        if appointment is None or chance.random() < 0.4:
            candidates = await hospital.find(f"n{number}")
            if not candidates:
                continue
            wanted = chance.choice(candidates)
            answer = await chance.choice([hospital.hold, hospital.book])(wanted)
            appointment = answer.json() if answer.is_success else appointment
        else:
            appointment = await hospital.read(f"Appointment/{appointment['id']}")
            await _act(hospital, appointment, f"n{number}", chance)


async def _act(
    hospital: Scheduling, appointment: dict[str, Any], referral: str, chance: random.Random
) -> None:
    action = chance.choice(["cancel", "book", "move", "call off"])
    if action == "cancel":
        await hospital.put({**appointment, "status": "cancelled", "cancelationReason": REASON})
    elif action == "book":
        await hospital.book(appointment)
    elif action == "move":
        start = chance.choice([0, 0.5, 1, 1.5, 2, 2.5, 3])
        await hospital.put({**appointment, "start": at(start), "end": at(start + 1)})
    else:
        for procedure in await hospital.search("Procedure", based_on=f"ServiceRequest/{referral}"):
            reason = {"text": "not today"}
            await hospital.put({**procedure, "status": "not-done", "statusReason": reason})


@pytest.mark.parametrize("seed", [1, 3])
async def test_many_clients_at_once_leave_a_true_calendar(hospital: Scheduling, seed: int) -> None:
    for number in range(CLIENTS):
        await hospital.referral(f"n{number}")
    await asyncio.gather(*(a_client(hospital, n, random.Random(f"{seed}-{n}")) for n in range(CLIENTS)))

    appointments = await hospital.search("Appointment", _count="500")
    active = [a for a in appointments if a["status"] in UNDER_WAY]
    assert appointments
    _nobody_is_booked_twice(active)
    slots = await hospital.search("Slot", _count="500")
    for schedule in ("suite", "operator"):
        theirs = [slot for slot in slots if slot["schedule"]["reference"] == f"Schedule/{schedule}"]
        _slots_tell_the_truth(theirs, active)
    await _windows_mirror_slots(hospital, slots)
    await _tables_mirror_appointments(hospital, active)
    open_procedures = [
        p for p in await hospital.search("Procedure", _count="500") if p["status"] != "not-done"
    ]
    referrals = [p["basedOn"][0]["reference"] for p in open_procedures]
    assert len(referrals) == len(set(referrals))


async def test_a_rival_that_comes_and_goes_during_a_booking_leaves_no_free_slot_over_it(
    hospital: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    for referral in ("n0", "n1"):
        await hospital.referral(referral)
    wanted = (await hospital.find("n0"))[0]
    rival: dict[str, Any] = {}
    schedules_of, rearrange = take_time.schedules_of, take_time._rearrange

    async def rival_comes(*arguments: Any) -> Any:
        if not rival:
            rival["status"] = "on its way"
            rival.update((await hospital.book((await hospital.find("n1"))[0])).json())
        return await schedules_of(*arguments)

    async def rival_goes(*arguments: Any) -> Any:
        if rival["status"] == "booked":
            rival["status"] = "cancelled"
            await hospital.put({**rival, "cancelationReason": REASON})
        return await rearrange(*arguments)

    monkeypatch.setattr(take_time, "schedules_of", rival_comes)
    monkeypatch.setattr(take_time, "_rearrange", rival_goes)
    await hospital.book(wanted)
    active = [a for a in await hospital.search("Appointment", _count="500") if a["status"] in UNDER_WAY]
    assert len(active) == 1
    slots = await hospital.search("Slot", _count="500")
    for schedule in ("suite", "operator"):
        theirs = [slot for slot in slots if slot["schedule"]["reference"] == f"Schedule/{schedule}"]
        _slots_tell_the_truth(theirs, active)


def span(resource: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(resource["start"]), datetime.fromisoformat(resource["end"])


def _nobody_is_booked_twice(active: list[dict[str, Any]]) -> None:
    taken: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for appointment in active:
        for participant in appointment["participant"]:
            taken[participant["actor"]["reference"]].append(span(appointment))
    for actor, spans in taken.items():
        spans.sort()
        assert all(spans[n][1] <= spans[n + 1][0] for n in range(len(spans) - 1)), actor


def _slots_tell_the_truth(slots: list[dict[str, Any]], active: list[dict[str, Any]]) -> None:
    spans = sorted(span(slot) for slot in slots)
    whole = (datetime.fromisoformat(at(0)), datetime.fromisoformat(at(4)))
    assert (spans[0][0], spans[-1][1]) == whole
    assert all(spans[n][1] == spans[n + 1][0] for n in range(len(spans) - 1)), "time was lost or doubled"
    for slot in slots:
        start, end = span(slot)
        over_it = [a["status"] for a in active if span(a)[0] < end and start < span(a)[1]]
        expected = {"free": [], "busy-tentative": ["pending"], "busy": ["booked"]}[slot["status"]]
        assert over_it == expected, slot


async def _windows_mirror_slots(hospital: Scheduling, slots: list[dict[str, Any]]) -> None:
    async with hospital.engine.store.pool.connection() as connection:
        rows = await connection.execute(
            "SELECT slot_id, status, lower(during), upper(during) FROM slot_window"
        )
        windows = {row[0]: row[1:] for row in await rows.fetchall()}
    assert windows == {slot["id"]: (slot["status"], *span(slot)) for slot in slots}


async def _tables_mirror_appointments(hospital: Scheduling, active: list[dict[str, Any]]) -> None:
    async with hospital.engine.store.pool.connection() as connection:
        booked = await connection.execute("SELECT DISTINCT appointment_id FROM actor_booking WHERE holding")
        claimed = await connection.execute("SELECT appointment_id FROM referral_booking")
        holders = {row[0] for row in await booked.fetchall()}
        claims = sorted(row[0] for row in await claimed.fetchall())
    assert holders == {appointment["id"] for appointment in active}
    assert claims == sorted(holders)
