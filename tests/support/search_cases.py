"""Made-up resources for searches, and queries on them; the same for the same seed."""

from random import Random
from typing import Any

Tree = dict[str, Any]
Query = list[tuple[str, str]]

IR = "https://kanwa.example/fhir/CodeSystem/ir-procedure"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
MRN = "urn:oid:1.2.392.1"
FAMILIES = ["Müller", "Mueller", "O'Brien", "Sato", "佐藤", "ガルシア", "Ng", "de la Cruz", "Ólafsdóttir"]
GIVENS = ["Anna", "anna-maria", "Jürgen", "太郎", "Zoë", "Li"]
CITIES = ["Tōkyō", "tokyo", "Genève", "Łódź"]
DATES = [
    "2026",
    "2026-03",
    "2026-03-05",
    "2026-03-06",
    "2026-03-05T08:00:00+09:00",
    "2026-03-05T23:30:00Z",
    "2026-03-05T23:30:00.250Z",
    "2026-03-31T23:59:59-05:00",
    "2025-12-31",
    "2026-04",
]
PERIODS = [
    {"start": "2026-03-01", "end": "2026-03-10"},
    {"start": "2026-03-05"},
    {"end": "2026-02"},
    {"start": "2026-03-05T08:00:00+09:00", "end": "2026-03-05T09:00:00+09:00"},
]
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
AMOUNTS = ["0", "3", "5", "5.4", "5.40", "7", "120", "121.5", "140"]


def resources(seed: int, patients: int = 12) -> list[Tree]:
    """Patients with their requests, tasks and observations."""
    random = Random(seed)
    made: list[Tree] = [_patient(random, number) for number in range(patients)]
    for number in range(patients * 4):
        made.append(_request(random, number, patients))
        made.append(_task(random, number, patients * 4))
        made.append(_observation(random, number, patients, patients * 4))
    return made


def _maybe(random: Random, likelihood: float, **members: Any) -> Tree:
    return members if random.random() < likelihood else {}


def _coding(random: Random, system: str, codes: list[str]) -> Tree:
    coding: Tree = {"code": random.choice(codes), **_maybe(random, 0.8, system=system)}
    return coding if random.random() < 0.95 else {"system": system}


def _concept(random: Random, system: str, codes: list[str]) -> Tree:
    return {"coding": [_coding(random, system, codes) for _ in range(random.choice([1, 1, 2]))]}


def _patient(random: Random, number: int) -> Tree:
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "identifier": [{"value": f"mrn-{number % 7}", **_maybe(random, 0.7, system=MRN)}],
        "name": [
            {"family": random.choice(FAMILIES), "given": random.sample(GIVENS, random.choice([1, 2]))}
            for _ in range(random.choice([1, 1, 2]))
        ],
        **_maybe(random, 0.8, gender=random.choice(["male", "female"])),
        **_maybe(random, 0.8, birthDate=random.choice(["1950", "1950-07", "1950-07-02", "1961-01-31"])),
        **_maybe(random, 0.5, address=[{"city": random.choice(CITIES), "line": ["1-2-3 Chūō"]}]),
        **_maybe(random, 0.3, deceasedBoolean=random.random() < 0.5),
        **_maybe(
            random, 0.5, telecom=[{"system": random.choice(["phone", "email"]), "value": f"t{number % 4}"}]
        ),
    }


def _request(random: Random, number: int, patients: int) -> Tree:
    return {
        "resourceType": "ServiceRequest",
        "id": f"s{number}",
        "status": random.choice(["active", "draft", "completed"]),
        "intent": random.choice(["order", "plan"]),
        "subject": {
            "reference": random.choice(["Patient/p{}", "Group/p{}"]).format(random.randrange(patients))
        },
        **_maybe(random, 0.7, priority=random.choice(["stat", "asap", "urgent", "routine"])),
        **_maybe(random, 0.8, code=_concept(random, IR, ["tips", "nephrostomy", "a,b|c$d"])),
        **_maybe(random, 0.7, authoredOn=random.choice(DATES)),
        **_maybe(random, 0.4, requester={"reference": f"Practitioner/{number % 3}"}),
        **_maybe(random, 0.3, requester={"identifier": {"system": MRN, "value": f"doc-{number % 3}"}}),
        **(
            _maybe(random, 0.4, occurrenceDateTime=random.choice(DATES))
            or _maybe(random, 0.6, occurrencePeriod=random.choice(PERIODS))
        ),
    }


def _task(random: Random, number: int, requests: int) -> Tree:
    return {
        "resourceType": "Task",
        "id": f"t{number}",
        "status": random.choice(["requested", "received", "completed"]),
        "intent": "order",
        **_maybe(random, 0.8, focus={"reference": f"ServiceRequest/s{random.randrange(requests)}"}),
        **_maybe(random, 0.6, priority=random.choice(["stat", "asap", "urgent", "routine"])),
        **_maybe(random, 0.5, partOf=[{"reference": f"Task/t{random.randrange(requests)}"}]),
        **_maybe(random, 0.6, authoredOn=random.choice(DATES)),
    }


def _amount(random: Random) -> Tree:
    return {
        "value": float(random.choice(AMOUNTS)),
        **_maybe(random, 0.7, system=UCUM, code=random.choice(["mm[Hg]", "{score}"])),
        **_maybe(random, 0.3, unit="mmHg"),
    }


def _observation(random: Random, number: int, patients: int, requests: int) -> Tree:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": random.choice(["final", "amended"]),
        "code": _concept(random, LOINC, ["72514-3", "85354-9"]),
        "subject": {"reference": f"Patient/p{random.randrange(patients)}"},
        **_maybe(random, 0.6, effectiveDateTime=random.choice(DATES)),
        **_maybe(random, 0.3, basedOn=[{"reference": f"ServiceRequest/s{random.randrange(requests)}"}]),
        **(
            _maybe(random, 0.5, valueQuantity=_amount(random))
            or _maybe(random, 0.3, valueCodeableConcept=_concept(random, IR, ["SE", "ME"]))
        ),
        **_maybe(
            random,
            0.5,
            component=[
                {"code": _concept(random, LOINC, ["8480-6", "8462-4"]), "valueQuantity": _amount(random)}
                for _ in range(random.choice([1, 2]))
            ],
        ),
    }
