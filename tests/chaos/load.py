"""The bounded, seeded load: whole loops of all four groups, races for one time, races for one resource."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from kanwa.demo.cases import CASES
from kanwa.demo.drive import JSON, Progress
from kanwa_shared.fhir.json_text import dumps
from tests.chaos.loops import GaveUp, PersistentDriver, another, persistently

GROUPS = ("vertebroplasty", "paracentesis", "biliary-stent", "emergency-embolization")
BY_PROCEDURE = {case.procedure: case for case in CASES}
#: Clients of each kind.
LOOP_CLIENTS, RACE_CLIENTS, UPDATE_CLIENTS = 2, 1, 2
RIVALS = 3
PATIENTS = 6
#: How long a client waits between two rounds: bounds the load, whatever the machine can do.
PAUSE_SECONDS = 0.4
#: How long one round may take to come to its end, faults included.
PATIENCE_SECONDS = 300.0


@dataclass(slots=True)
class Load:
    """`closed` names the referrals that were driven to their end, `gave_up` what never succeeded."""

    client: httpx.AsyncClient
    seed: int
    closed: set[str] = field(default_factory=set[str])
    gave_up: list[str] = field(default_factory=list[str])
    done: Counter[str] = field(default_factory=Counter[str])

    async def run(self, end: asyncio.Event) -> None:
        """Begin new rounds until `end` is set, then end those that were begun."""
        clients = [self._loops(number, end) for number in range(LOOP_CLIENTS)]
        clients += [self._races(number, end) for number in range(RACE_CLIENTS)]
        clients += [self._updates(number, end) for number in range(UPDATE_CLIENTS)]
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client)

    async def _loops(self, number: int, end: asyncio.Event) -> None:
        driver, dice = PersistentDriver(self.client), random.Random(f"{self.seed} loops {number}")
        rounds = 0
        while not end.is_set():
            case = BY_PROCEDURE[GROUPS[(number + rounds) % len(GROUPS)]]
            rounds += 1
            progress = another(case, f"Loop{number}x{rounds}")
            try:
                self.closed.add(await driver.take(progress, time.monotonic() + PATIENCE_SECONDS))
            except GaveUp as given_up:
                self.gave_up.append(str(given_up))
            else:
                self.done["loops closed"] += 1
            await asyncio.sleep(dice.uniform(0, 2 * PAUSE_SECONDS))

    async def _races(self, number: int, end: asyncio.Event) -> None:
        """Two referrals, one time: both take the same proposal at once, by $hold and by $book."""
        driver, dice = PersistentDriver(self.client), random.Random(f"{self.seed} races {number}")
        rounds = 0
        while not end.is_set():
            rounds += 1
            rivals = [another(BY_PROCEDURE["vertebroplasty"], f"Race{number}x{rounds}x{n}") for n in range(2)]
            try:
                await self._race(driver, rivals, dice, time.monotonic() + PATIENCE_SECONDS)
            except GaveUp as given_up:
                self.gave_up.append(str(given_up))
            await asyncio.sleep(dice.uniform(0, 4 * PAUSE_SECONDS))

    async def _race(
        self, driver: PersistentDriver, rivals: list[Progress], dice: random.Random, until: float
    ) -> None:
        for rival in rivals:
            await persistently(lambda r=rival: driver.refer(r), until, "refer")
            await persistently(lambda r=rival: driver.decide(r), until, "decide")
        offers: list[list[dict[str, Any]]] = []

        async def ask(rival: Progress) -> None:
            offers.append(await driver.proposals(rival))

        for rival in rivals:
            await persistently(lambda r=rival: ask(r), until, "$find")
        if not all(offers):
            return
        # Both want the time that the first was offered; the second asks for its own referral.
        wanted = offers[0][0]
        twin = next((o for o in offers[1] if _when_and_who(o) == _when_and_who(wanted)), offers[1][0])
        attempts = [("$book", wanted), ("$book", twin), ("$hold", wanted), ("$hold", twin)]
        dice.shuffle(attempts)
        answers = await asyncio.gather(
            *(driver.post_appointment(how, offer) for how, offer in attempts), return_exceptions=True
        )
        told = [answer for answer in answers if isinstance(answer, httpx.Response)]
        self.done["bookings won"] += sum(1 for answer in told if answer.is_success)
        self.done["bookings refused"] += sum(1 for answer in told if answer.status_code == 409)

    async def _updates(self, number: int, end: asyncio.Event) -> None:
        """Rivals for one resource: with the same If-Match only one may win; without, all win one after the other."""
        dice = random.Random(f"{self.seed} updates {number}")
        ids = [f"chaos-{self.seed}-{number}-{n}" for n in range(PATIENTS)]
        rounds = 0
        while not end.is_set():
            rounds += 1
            id = dice.choice(ids)
            what = dice.choices(["guarded", "unguarded", "delete"], [6, 3, 1])[0]
            try:
                await self._update(id, what, rounds)
            except httpx.HTTPError:
                self.done["updates unanswered"] += 1
            await asyncio.sleep(dice.uniform(0, 2 * PAUSE_SECONDS))

    async def _update(self, id: str, what: str, rounds: int) -> None:
        read = await self.client.get(f"Patient/{id}")
        if what == "delete":
            if read.is_success:
                await self.client.delete(f"Patient/{id}", headers={"if-match": read.headers["etag"]})
                self.done["deletions"] += 1
            return
        guarded = what == "guarded" and read.is_success
        match = {"if-match": read.headers["etag"]} if guarded else {}
        answers = await asyncio.gather(
            *(self._put(id, f"R{rounds}n{n}", match) for n in range(RIVALS)), return_exceptions=True
        )
        told = [answer for answer in answers if isinstance(answer, httpx.Response)]
        self.done["updates won"] += sum(1 for answer in told if answer.is_success)
        self.done["updates refused"] += sum(1 for answer in told if answer.status_code in {409, 412})

    async def _put(self, id: str, family: str, headers: dict[str, str]) -> httpx.Response:
        tree = {"resourceType": "Patient", "id": id, "active": True, "name": [{"family": family}]}
        return await self.client.put(f"Patient/{id}", content=dumps(tree), headers={**JSON, **headers})


def _when_and_who(appointment: dict[str, Any]) -> tuple[str, frozenset[str]]:
    actors = (p.get("actor", {}).get("reference", "") for p in appointment.get("participant", []))
    return appointment["start"], frozenset(actor for actor in actors if not actor.startswith("Patient/"))
