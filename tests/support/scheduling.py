"""The scheduling service in this process, with referrals and a small hospital for its tests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from kanwa_scheduling.service import definition
from kanwa_scheduling.settings import SchedulingSettings
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.rest.engine import Origin
from tests.support.one_service import BASE, JSON, OneService, Tree, serving

IR = "https://kanwa.example/fhir/CodeSystem/ir-procedure"
TEAM_ROLE = "https://kanwa.example/fhir/CodeSystem/team-role"

#: The morning of the day after tomorrow: every test books in the future, at whole hours.
MORNING = (datetime.now(UTC) + timedelta(days=2)).replace(hour=8, minute=0, second=0, microsecond=0)


def at(hours: float) -> str:
    """An instant so many hours after MORNING."""
    return (MORNING + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def concept(system: str, code: str) -> Tree:
    """A CodeableConcept with one coding."""
    return {"coding": [{"system": system, "code": code}]}


def procedures(*codes: str) -> list[Tree]:
    """Schedule.serviceType for these codes of the catalogue."""
    return [concept(IR, code) for code in codes]


@dataclass
class Scheduling(OneService):
    """The running service: `client` speaks FHIR to it, the methods play the other services."""

    async def periodic(self, name: str) -> None:
        """Run one of the service's periodic jobs once."""
        (job,) = [job for job in definition.periodic if job.name == name]
        await self.engine.perform(Origin(), job.run)

    async def referral(self, id: str = "r", *, accepted: bool = True, **changes: Any) -> Tree:
        """A paracentesis referral with its coordination Task."""
        request = service_request(id, **changes)
        await self.replicate(request)
        await self.replicate(coordination_task(id, "accepted" if accepted else "received"))
        return request

    async def put(self, tree: Tree, status: int | None = None, **headers: str) -> httpx.Response:
        """PUT a resource; the answer, which must have `status` if one is given."""
        url = f"{tree['resourceType']}/{tree['id']}"
        answer = await self.client.put(url, content=dumps(tree), headers={**JSON, **headers})
        assert answer.status_code < 500, answer.text
        assert status in (None, answer.status_code), answer.text
        return answer

    async def post(self, tree: Tree, status: int | None = None) -> httpx.Response:
        """POST a resource to its type."""
        answer = await self.client.post(tree["resourceType"], content=dumps(tree), headers=JSON)
        assert status in (None, answer.status_code), answer.text
        return answer

    async def search(self, resource_type: str, **parameters: str) -> list[Tree]:
        """The resources that a search finds; `_` inside names stands for `-`."""
        query = {name[0] + name[1:].replace("_", "-"): value for name, value in parameters.items()}
        answer = await self.client.get(resource_type, params=query)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    async def call(self, operation: str, *parameters: Tree) -> httpx.Response:
        """Call `Appointment/$operation` with these parameters."""
        body = {"resourceType": "Parameters", "parameter": list(parameters)}
        answer = await self.client.post(f"Appointment/${operation}", content=dumps(body), headers=JSON)
        assert answer.status_code < 500, answer.text
        return answer

    async def find(self, referral: str = "r", *more: Tree, start: str = "", end: str = "") -> list[Tree]:
        """The proposed Appointments for a referral on the day of MORNING."""
        answer = await self.call("find", *find_parameters(referral, start, end), *more)
        assert answer.status_code == 200, answer.text
        return [e["resource"] for e in answer.json()["entry"] if e["search"]["mode"] == "match"]

    async def book(self, appointment: Tree) -> httpx.Response:
        """Book a proposed or held Appointment."""
        return await self.call("book", {"name": "appt-resource", "resource": appointment})

    async def hold(self, appointment: Tree) -> httpx.Response:
        """Hold a proposed Appointment."""
        return await self.call("hold", {"name": "appt-resource", "resource": appointment})

    async def actor(self, reference: str, *codes: str, role: str | None = None, **more: Any) -> None:
        """An actor with a Schedule that names these procedures; `more` goes to the Schedule."""
        schedule = {
            "resourceType": "Schedule",
            "id": reference.partition("/")[2],
            "active": True,
            "actor": [{"reference": reference}],
            "serviceType": procedures(*codes),
            "serviceCategory": [concept(TEAM_ROLE, role)] if role else [],
            **more,
        }
        await self.put({name: content for name, content in schedule.items() if content != []}, 201)

    async def slot(self, id: str, schedule: str, start: float, end: float, status: str = "free") -> None:
        """A Slot, in hours after MORNING."""
        await self.put(
            {
                "resourceType": "Slot",
                "id": id,
                "schedule": {"reference": f"Schedule/{schedule}"},
                "status": status,
                "start": at(start),
                "end": at(end),
            },
            201,
        )

    async def small_hospital(self) -> None:
        """One suite and one operator for paracentesis, both free from MORNING for four hours."""
        await self.replicate(practitioner_role("operator"))
        await self.put({"resourceType": "Location", "id": "suite", "name": "Suite 1"}, 201)
        await self.actor("Location/suite", "paracentesis", "vertebroplasty")
        await self.actor("PractitionerRole/operator", "paracentesis")
        await self.slot("suite-am", "suite", 0, 4)
        await self.slot("operator-am", "operator", 0, 4)


def find_parameters(referral: str, start: str = "", end: str = "") -> list[Tree]:
    """The Parameters of `$find` as outside programs send them."""
    return [
        {"name": "based-on", "valueReference": {"reference": f"ServiceRequest/{referral}"}},
        {"name": "start", "valueDateTime": start or at(-1)},
        {"name": "end", "valueDateTime": end or at(14)},
    ]


def service_request(id: str, **changes: Any) -> Tree:
    """An active routine referral for a paracentesis of Patient/p-{id}."""
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "code": concept(IR, "paracentesis"),
        "subject": {"reference": f"Patient/p-{id}"},
        "authoredOn": datetime.now(UTC).isoformat(timespec="seconds"),
        **changes,
    }


def coordination_task(referral: str, status: str, id: str = "") -> Tree:
    """The coordination Task of a referral."""
    return {
        "resourceType": "Task",
        "id": id or f"t-{referral}",
        "status": status,
        "intent": "order",
        "code": concept("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
        "focus": {"reference": f"ServiceRequest/{referral}"},
    }


def practitioner_role(id: str, person: str = "", organization: str = "") -> Tree:
    """A PractitionerRole of Practitioner/{person}."""
    role: Tree = {
        "resourceType": "PractitionerRole",
        "id": id,
        "practitioner": {"reference": f"Practitioner/{person or 'dr-' + id}", "display": f"Dr. {id}"},
    }
    if organization:
        role["organization"] = {"reference": f"Organization/{organization}"}
    return role


@asynccontextmanager
async def running(database_url: str, **settings: Any) -> AsyncIterator[Scheduling]:
    """The service over a database that has its tables; it waits little for replicas unless told to."""
    given: Mapping[str, Any] = {
        "database_url": database_url,
        "auth_mode": "open",
        "replica_wait_seconds": 0.2,
        "base_url": BASE,
        **settings,
    }
    async with serving(definition, SchedulingSettings(**given)) as (client, engine):
        yield Scheduling(client, engine)
