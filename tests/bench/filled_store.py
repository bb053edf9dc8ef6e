"""A store filled as a hospital fills it: more days, not more a day. Rows come from the product's own indexing."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.search import IndexRows, index

Tree = dict[str, Any]

FIRST_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
A_DAY: Final = 2000
MRN: Final = "https://hospital.example/mrn"
IR: Final = "https://kanwa.example/fhir/CodeSystem/ir-procedure"
_BATCH: Final = 20_000
#: Of twenty resources one is a patient.
_KINDS: Final = ("Patient", *["ServiceRequest"] * 5, *["Task"] * 5, *["Condition"] * 2, *["Observation"] * 7)
_FAMILIES: Final = ("Sato", "Suzuki", "Müller", "O'Brien", "Takahashi", "García", "Ng", "Novák", "Kowalski")
_GIVENS: Final = ("Hanako", "Tarō", "Anna", "Jürgen", "Zoë", "Li", "María", "Ewa")
_CODES: Final = ("paracentesis", "tips", "biliary-stent", "vertebroplasty", "nephrostomy", "gastrostomy")

_COLUMNS: Final[dict[LiteralString, LiteralString]] = {
    "resource": "resource_type, id, version, last_updated, deleted, replica, tokens",
    "resource_version": "resource_type, id, version, last_updated, interaction, body",
    "resource_reference": "resource_type, id, param, target_type, target_id",
    "resource_date": "resource_type, id, param, low, high",
    "resource_quantity": "resource_type, id, param, low, high, system, code",
    "resource_string": "resource_type, id, param, normalised, exact",
}
_MARK: Final = "resource-"


def moment_of(number: int) -> datetime:
    """When resource `number` was written."""
    return FIRST_DAY + timedelta(days=number / A_DAY)


def id_of(number: int) -> str:
    """Its id, which says nothing of its age."""
    return f"{number * 2_654_435_761 % 2**32:08x}-{number}"


def newest(kind: str, below: int) -> int:
    """Number of the newest resource of a type among the first `below`."""
    return next(number for number in range(below - 1, -1, -1) if _KINDS[number % 20] == kind)


def _earlier(kind: str, number: int, random: Random) -> str:
    place = random.choice([place for place, held in enumerate(_KINDS) if held == kind])
    return f"{kind}/{id_of(random.randrange(number // 20 + 1) * 20 + place)}"


def resource(number: int) -> Tree:
    """Resource `number`, the same in every run; it refers to earlier ones."""
    random = Random(number)
    kind, moment = _KINDS[number % 20], moment_of(number)
    tree: Tree = {"resourceType": kind, "id": id_of(number)}
    at = moment.isoformat(timespec="milliseconds")
    if kind == "Patient":
        return tree | {
            "identifier": [{"system": MRN, "value": f"{number:08}"}],
            "name": [{"family": random.choice(_FAMILIES), "given": [random.choice(_GIVENS), f"K{number}"]}],
            "gender": random.choice(["male", "female"]),
            "birthDate": (date(1930, 1, 1) + timedelta(days=random.randrange(20_000))).isoformat(),
        }
    patient = {"reference": _earlier("Patient", number, random)}
    if kind == "ServiceRequest":
        return tree | {
            "identifier": [{"system": "https://hospital.example/order", "value": f"o-{number}"}],
            "status": random.choices(["active", "completed", "revoked"], [2, 7, 1])[0],
            "intent": "order",
            "priority": random.choices(["routine", "urgent", "asap", "stat"], [7, 1, 1, 1])[0],
            "code": {"coding": [{"system": IR, "code": random.choice(_CODES)}]},
            "subject": patient,
            "authoredOn": at,
            "requester": {"reference": f"Practitioner/p-{number % 97}"},
            "occurrencePeriod": {
                "start": at,
                "end": (moment + timedelta(days=7)).isoformat(timespec="milliseconds"),
            },
        }
    if kind == "Task":
        request = _earlier("ServiceRequest", number, random)
        return tree | {
            "status": random.choices(["received", "completed", "cancelled"], [2, 7, 1])[0],
            "intent": "order",
            "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
            "focus": {"reference": request},
            "basedOn": [{"reference": request}],
            "for": patient,
            "authoredOn": at,
            "lastModified": at,
        }
    if kind == "Condition":
        return tree | {
            "code": {"text": "Metastatic cancer"},
            "subject": patient,
            "recordedDate": at,
        }
    return tree | {
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": random.choice(["72514-3", "6301-6"])}]},
        "subject": patient,
        "effectiveDateTime": at,
        "basedOn": [{"reference": _earlier("ServiceRequest", number, random)}],
        "valueQuantity": {
            "value": random.randrange(11),
            "system": "http://unitsofmeasure.org",
            "code": "{score}",
        },
    }


@dataclass(slots=True)
class _Rows:
    tree: Tree
    body: str
    at: datetime
    index: IndexRows

    def of(self, table: str) -> Iterator[Sequence[Any]]:
        key = (self.tree["resourceType"], self.tree["id"])
        match table:
            case "resource":
                yield (*key, 1, self.at, False, key[0] == "Observation", self.index.tokens)
            case "resource_version":
                yield (*key, 1, self.at, "create", self.body)
            case "resource_reference":
                yield from ((*key, *row) for row in self.index.references)
            case "resource_date":
                yield from ((*key, *row) for row in self.index.dates)
            case "resource_quantity":
                yield from ((*key, *row) for row in self.index.quantities)
            case _:
                yield from ((*key, *row) for row in self.index.strings)


def _indexed(number: int) -> _Rows:
    at = moment_of(number)
    tree = resource(number)
    tree["meta"] = {"versionId": "1", "lastUpdated": at.isoformat(timespec="milliseconds")}
    body = json.dumps(tree, ensure_ascii=False)
    tree = parse(body.encode())
    return _Rows(tree, body, at, index(tree))


def fill(database_url: str, held: int, wanted: int) -> None:
    """Add resources `held` … `wanted` - 1, with the indexes away meanwhile, then count what autovacuum counts."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '256MB'")
        indexes = _drop_indexes(connection)
        for start in range(held, wanted, _BATCH):
            rows = [_indexed(number) for number in range(start, min(start + _BATCH, wanted))]
            for table, columns in _COLUMNS.items():
                _copy(connection, table, columns, (row for one in rows for row in one.of(table)))
        for definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _copy(
    connection: psycopg.Connection[Any],
    table: LiteralString,
    columns: LiteralString,
    rows: Iterable[Sequence[Any]],
) -> None:
    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:  # names of ours
        for row in rows:
            copy.write_row(row)


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[Any]:
    """Drop the indexes that no constraint needs; give the statements that make them again."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes JOIN pg_class c ON c.relname = indexname"
        " WHERE tablename = ANY(%s) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)",
        (list(_COLUMNS),),
    ).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in found]
