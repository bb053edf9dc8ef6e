"""Queries that ask every parameter type, modifier and prefix of the made-up resources in `search_cases`."""

from collections.abc import Callable
from random import Random

from tests.support.search_cases import (
    AMOUNTS,
    CITIES,
    DATES,
    FAMILIES,
    GIVENS,
    IR,
    LOINC,
    MRN,
    PREFIXES,
    UCUM,
    Query,
)

Value = Callable[[Random], tuple[str, str]]
BINDING = "http://hl7.org/fhir/request-status"


def _token(name: str, systems: list[str], codes: list[str], *, negatable: bool = True) -> Value:
    def one(random: Random) -> str:
        code, system = random.choice(codes), random.choice(systems)
        return random.choice([code, code, f"{system}|{code}", f"|{code}", f"{system}|"])

    def value(random: Random) -> tuple[str, str]:
        modifier = random.choice(["", "", "", ":not"]) if negatable else ""
        return name + modifier, ",".join(one(random) for _ in range(random.choice([1, 1, 2])))

    return value


def _code(name: str, codes: list[str]) -> Value:
    return lambda random: (
        name + random.choice(["", "", ":not"]),
        ",".join(random.sample([*codes, "unknown"], random.choice([1, 2]))),
    )


def _date(name: str) -> Value:
    return lambda random: (
        name,
        ",".join(random.choice(PREFIXES) + random.choice(DATES) for _ in range(random.choice([1, 1, 2]))),
    )


def _string(name: str, texts: list[str]) -> Value:
    def value(random: Random) -> tuple[str, str]:
        text = random.choice(texts)
        start = random.randrange(len(text)) if random.random() < 0.3 else 0
        piece = text[start : start + random.randrange(1, 8)]
        shown = random.choice([piece, piece.upper(), text])
        return name + random.choice(["", "", ":contains", ":exact"]), shown.replace(",", "\\,")

    return value


def _quantity(name: str) -> Value:
    return lambda random: (name, _amount(random))


def _amount(random: Random) -> str:
    unit = random.choice(["", "", f"|{UCUM}|mm[Hg]", f"|{UCUM}|{{score}}", "||mmHg", "||mm[Hg]"])
    return random.choice(PREFIXES) + random.choice(AMOUNTS) + unit


def _composite(name: str, codes: list[str]) -> Value:
    def one(random: Random) -> str:
        code = random.choice(codes)
        return f"{random.choice([code, f'{LOINC}|{code}', f'|{code}'])}${_amount(random)}"

    return lambda random: (name, ",".join(one(random) for _ in range(random.choice([1, 1, 2]))))


def _reference(name: str, types: list[str], prefix: str, count: int) -> Value:
    def value(random: Random) -> tuple[str, str]:
        target, id = random.choice(types), f"{prefix}{random.randrange(count)}"
        return random.choice([(name, f"{target}/{id}"), (name, id), (f"{name}:{target}", id)])

    return value


def _missing(*names: str) -> Value:
    return lambda random: (f"{random.choice(names)}:missing", random.choice(["true", "false"]))


ESCAPED = "a\\,b\\|c\\$d"
PATIENT: list[Value] = [
    _token("identifier", [MRN], [f"mrn-{n}" for n in range(8)]),
    _string("name", [*FAMILIES, *GIVENS]),
    _string("family", FAMILIES),
    _string("given", GIVENS),
    _string("address", [*CITIES, "1-2-3 Chūō"]),
    _string("address-city", CITIES),
    _code("gender", ["male", "female"]),
    lambda random: ("birthdate", random.choice(PREFIXES) + random.choice(["1950", "1950-07", "1950-07-02"])),
    _code("deceased", ["true", "false"]),
    _token("telecom", ["phone", "email"], ["t0", "t1", "t3"]),
    _code("phone", ["t0", "t1"]),
    _missing(
        "gender", "birthdate", "address", "address-city", "telecom", "phone", "name", "identifier", "deceased"
    ),
    lambda random: ("_has:Observation:subject:code", f"{LOINC}|{random.choice(['72514-3', '85354-9'])}"),
    lambda random: ("_has:ServiceRequest:patient:authored", f"ge{random.choice(DATES)}"),
    lambda random: (
        "_has:ServiceRequest:subject:_has:Task:focus:status",
        random.choice(["received", "completed"]),
    ),
    lambda random: ("_id", ",".join(random.sample([f"p{n}" for n in range(15)], 3))),
]
REQUEST: list[Value] = [
    _code("status", ["active", "draft", "completed"]),
    lambda random: ("status", f"{BINDING}|{random.choice(['active', '', 'draft'])}"),
    lambda random: ("status", random.choice(["|active", "http://elsewhere|active"])),
    _code("priority", ["stat", "asap", "urgent"]),
    _token("code", [IR], ["tips", "nephrostomy", ESCAPED]),
    _reference("subject", ["Patient", "Group"], "p", 14),
    _reference("patient", ["Patient"], "p", 14),
    lambda random: ("patient", f"Group/p{random.randrange(12)}"),
    _reference("requester", ["Practitioner"], "", 4),
    lambda random: (
        "requester:identifier",
        random.choice(["doc-1", f"{MRN}|doc-2", f"{MRN}|", "|doc-1", f"{MRN}|doc-0,doc-1"]),
    ),
    _date("authored"),
    _date("occurrence"),
    _missing("priority", "code", "authored", "occurrence", "requester", "patient", "subject", "status"),
    lambda random: ("subject:Patient.gender", random.choice(["male", "female"])),
    lambda random: ("patient.name", random.choice(FAMILIES)[:3]),
    lambda random: ("patient.identifier", f"{MRN}|mrn-{random.randrange(7)}"),
    lambda random: ("subject.name:contains", random.choice(["l", "an", "佐"])),
    lambda random: ("_has:Task:focus:priority", random.choice(["stat", "routine"])),
]
TASK: list[Value] = [
    _code("status", ["requested", "received", "completed"]),
    _code("priority", ["stat", "routine"]),
    _reference("focus", ["ServiceRequest"], "s", 50),
    _reference("part-of", ["Task"], "t", 50),
    _date("authored-on"),
    _missing("focus", "priority", "part-of", "authored-on"),
    lambda random: ("focus:ServiceRequest.status", random.choice(["active", "draft"])),
    lambda random: ("focus:ServiceRequest.patient.name", random.choice(FAMILIES)[:2]),
    lambda random: ("part-of.focus:ServiceRequest.authored", "ge2026-03"),
    lambda random: ("part-of.part-of.status:not", "requested"),
]
OBSERVATION: list[Value] = [
    _code("status", ["final", "amended"]),
    _token("code", [LOINC], ["72514-3", "85354-9"]),
    _token("combo-code", [LOINC], ["72514-3", "8480-6"]),
    _token("value-concept", [IR], ["SE", "ME"]),
    _date("date"),
    _quantity("value-quantity"),
    _quantity("component-value-quantity"),
    _quantity("combo-value-quantity"),
    _composite("code-value-quantity", ["72514-3", "85354-9"]),
    _composite("component-code-value-quantity", ["8480-6", "8462-4"]),
    _composite("combo-code-value-quantity", ["8480-6", "72514-3"]),
    _missing(
        "value-quantity", "value-concept", "component-value-quantity", "combo-value-quantity", "date", "code"
    ),
    lambda random: ("based-on.status", random.choice(["active", "draft"])),
    lambda random: ("subject:Patient.birthdate", "lt1955"),
]
BY_TYPE = {"Patient": PATIENT, "ServiceRequest": REQUEST, "Task": TASK, "Observation": OBSERVATION}


def queries(seed: int, count: int) -> list[tuple[str, Query]]:
    """`count` queries of one to three parameters, each of the parameters alone first."""
    alone = [(resource_type, [value]) for resource_type, values in BY_TYPE.items() for value in values]
    random = Random(seed)
    mixed = [
        (resource_type, random.choices(BY_TYPE[resource_type], k=random.choice([1, 2, 2, 3])))
        for resource_type in random.choices(list(BY_TYPE), k=max(count - len(alone), 0))
    ]
    return [
        (resource_type, [value(random) for value in values]) for resource_type, values in [*alone, *mixed]
    ]
