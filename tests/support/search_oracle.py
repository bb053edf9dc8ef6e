"""Searches answered by looking at every resource, written from the specification apart from the server.

It knows the parameters that `search_cases` asks for and no others.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from dateutil.relativedelta import relativedelta

Tree = dict[str, Any]
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
NEVER = datetime(1, 1, 1, tzinfo=UTC)
PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb)?(.*)", re.S)

TYPES: dict[str, dict[str, tuple[str, Callable[[Tree], list[Any]]]]] = {
    "Patient": {
        "identifier": ("token", lambda t: t.get("identifier", [])),
        "name": (
            "string",
            lambda t: [part for name in t["name"] for part in [name["family"], *name["given"]]],
        ),
        "family": ("string", lambda t: [name["family"] for name in t["name"]]),
        "given": ("string", lambda t: [given for name in t["name"] for given in name["given"]]),
        "address": ("string", lambda t: [x for a in t.get("address", []) for x in [a["city"], *a["line"]]]),
        "address-city": ("string", lambda t: [a["city"] for a in t.get("address", [])]),
        "gender": ("token", lambda t: _some(t, "gender")),
        "birthdate": ("date", lambda t: _some(t, "birthDate")),
        "deceased": ("token", lambda t: ["true" if t.get("deceasedBoolean") else "false"]),
        "telecom": (
            "token",
            lambda t: [{"code": c["value"], "system": c["system"]} for c in t.get("telecom", [])],
        ),
        "phone": (
            "token",
            lambda t: [{"code": c["value"]} for c in t.get("telecom", []) if c["system"] == "phone"],
        ),
    },
    "ServiceRequest": {
        "status": ("token", lambda t: [t["status"]]),
        "priority": ("token", lambda t: _some(t, "priority")),
        "code": ("token", lambda t: _codings(t, "code")),
        "subject": ("reference", lambda t: [t["subject"]]),
        "patient": ("reference", lambda t: [t["subject"]] if "Patient" in t["subject"]["reference"] else []),
        "requester": ("reference", lambda t: _some(t, "requester")),
        "authored": ("date", lambda t: _some(t, "authoredOn")),
        "occurrence": ("date", lambda t: _some(t, "occurrenceDateTime") + _some(t, "occurrencePeriod")),
    },
    "Task": {
        "status": ("token", lambda t: [t["status"]]),
        "priority": ("token", lambda t: _some(t, "priority")),
        "focus": ("reference", lambda t: _some(t, "focus")),
        "part-of": ("reference", lambda t: t.get("partOf", [])),
        "authored-on": ("date", lambda t: _some(t, "authoredOn")),
    },
    "Observation": {
        "status": ("token", lambda t: [t["status"]]),
        "code": ("token", lambda t: _codings(t, "code")),
        "subject": ("reference", lambda t: [t["subject"]]),
        "based-on": ("reference", lambda t: t.get("basedOn", [])),
        "date": ("date", lambda t: _some(t, "effectiveDateTime")),
        "value-quantity": ("quantity", lambda t: _some(t, "valueQuantity")),
        "value-concept": ("token", lambda t: _codings(t, "valueCodeableConcept")),
        "component-value-quantity": (
            "quantity",
            lambda t: [c["valueQuantity"] for c in t.get("component", [])],
        ),
        "combo-code": (
            "token",
            lambda t: _codings(t, "code") + [x for c in t.get("component", []) for x in _codings(c, "code")],
        ),
        "combo-value-quantity": (
            "quantity",
            lambda t: _some(t, "valueQuantity") + [c["valueQuantity"] for c in t.get("component", [])],
        ),
    },
}
COMPOSITES: dict[str, Callable[[Tree], list[Tree]]] = {
    "code-value-quantity": lambda t: [t],
    "component-code-value-quantity": lambda t: t.get("component", []),
    "combo-code-value-quantity": lambda t: [t, *t.get("component", [])],
}
PRESENCE_OF_ELEMENT = {"code": "code", "value-concept": "valueCodeableConcept"}


def _some(tree: Tree, member: str) -> list[Any]:
    return [tree[member]] if member in tree else []


def _codings(tree: Tree, member: str) -> list[Any]:
    return tree.get(member, {}).get("coding", [])


class Oracle:
    """Answers queries over `trees`."""

    def __init__(self, trees: Iterable[Tree]):
        self.trees = {f"{tree['resourceType']}/{tree['id']}": tree for tree in trees}

    def of_type(self, resource_type: str) -> list[Tree]:
        return [tree for tree in self.trees.values() if tree["resourceType"] == resource_type]

    def search(self, resource_type: str, query: list[tuple[str, str]]) -> list[str]:
        """Ids of the matches, sorted."""
        return sorted(
            tree["id"]
            for tree in self.of_type(resource_type)
            if all(self.matches(tree, name, value) for name, value in query)
        )

    def matches(self, tree: Tree, name: str, value: str) -> bool:
        if name.startswith("_has:"):
            _, source, param, rest = name.split(":", 3)
            target = f"{tree['resourceType']}/{tree['id']}"
            return any(
                any(ref.get("reference") == target for ref in TYPES[source][param][1](other))
                and self.matches(other, rest, value)
                for other in self.of_type(source)
            )
        if "." in name:
            return self._chained(tree, name, value)
        code, _, modifier = name.partition(":")
        if code in COMPOSITES:
            return any(_composite(tree, code, part) for part in _split(value, ","))
        if code == "_id":
            return tree["id"] in value.split(",")
        kind, values_of = TYPES[tree["resourceType"]][code]
        values = values_of(tree)
        if modifier == "missing":
            there = PRESENCE_OF_ELEMENT[code] in tree if code in PRESENCE_OF_ELEMENT else bool(values)
            return there == (value == "false")
        found = any(
            _matches_one(kind, modifier, held, part, tree["resourceType"])
            for held in values
            for part in _split(value, ",")
        )
        return not found if modifier == "not" else found

    def _chained(self, tree: Tree, name: str, value: str) -> bool:
        head, _, rest = name.partition(".")
        code, _, wanted = head.partition(":")
        targets = [
            self.trees.get(ref.get("reference", "")) for ref in TYPES[tree["resourceType"]][code][1](tree)
        ]
        return any(
            target is not None
            and wanted in ("", target["resourceType"])
            and rest.split(":")[0].split(".")[0] in {*TYPES[target["resourceType"]], "_id"}
            and self.matches(target, rest, value)
            for target in targets
        )


def _split(text: str, separator: str) -> list[str]:
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _matches_one(kind: str, modifier: str, held: Any, asked: str, resource_type: str) -> bool:
    match kind:
        case "token":
            return _token(held, asked)
        case "reference" if modifier == "identifier":
            return _token(held.get("identifier", {}), asked)
        case "reference":
            held_text = held.get("reference", "")
            if "/" not in asked:
                asked = f"{modifier or held_text.split('/')[0]}/{asked}"
            return held_text == asked
        case "string":
            return _string(modifier, held, _plain(asked))
        case "date":
            return _date(held, asked)
        case _:
            return _quantity(held, asked)


BINDINGS = {
    "http://hl7.org/fhir/request-status": {"active", "draft", "completed"},
    "http://hl7.org/fhir/administrative-gender": {"male", "female"},
    "http://hl7.org/fhir/request-priority": {"stat", "asap", "urgent", "routine"},
}


def _token(held: Any, asked: str) -> bool:
    parts = [_plain(part) for part in _split(asked, "|")]
    if isinstance(held, str):  # a code: its system is that of its binding
        if len(parts) == 1 or parts[0] == "":
            return held == parts[-1]
        return held in BINDINGS.get(parts[0], set()) and parts[1] in ("", held)
    code, system = held.get("code", held.get("value")), held.get("system", "")
    if len(parts) == 1:
        return code == parts[0]
    if parts[1] == "":
        return system == parts[0]
    return (system, code) == (parts[0], parts[1])


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f"))


def _string(modifier: str, held: str, asked: str) -> bool:
    if modifier == "exact":
        return held == asked
    if modifier == "contains":
        return _fold(asked) in _fold(held)
    return _fold(held).startswith(_fold(asked))


def _span(text: str) -> tuple[datetime, datetime]:
    steps = {4: relativedelta(years=1), 7: relativedelta(months=1), 10: relativedelta(days=1)}
    if len(text) in steps:
        low = datetime.fromisoformat(
            f"{text}-01-01"[: max(len(text), 10)] if len(text) == 4 else f"{text}-01"[:10]
        )
        return low.replace(tzinfo=UTC), (low + steps[len(text)]).replace(tzinfo=UTC)
    low = datetime.fromisoformat(text).astimezone(UTC)
    digits = len(re.sub(r".*T[\d:]+\.?(\d*).*", r"\1", text))
    return low, low + timedelta(microseconds=10 ** (6 - digits))


def _date(held: Any, asked: str) -> bool:
    if isinstance(held, dict):
        first = _span(held["start"])[0] if "start" in held else NEVER
        last = _span(held["end"])[1] if "end" in held else FOREVER
    else:
        first, last = _span(held)
    found = PREFIX.fullmatch(asked)
    assert found
    low, high = _span(found[2])
    inside = low <= first and last <= high
    return {
        "eq": inside,
        "ne": not inside,
        "gt": last > high,
        "lt": first < low,
        "ge": last > high or inside,
        "le": first < low or inside,
        "sa": first >= high,
        "eb": last <= low,
    }[found[1] or "eq"]


def _quantity(held: Tree, asked: str) -> bool:
    found = PREFIX.fullmatch(asked)
    assert found
    literal, *unit = found[2].split("|")
    value, amount = Decimal(literal), Decimal(str(held["value"]))
    half = Decimal(1).scaleb(int(value.as_tuple().exponent)) / 2
    inside = value - half <= amount < value + half
    if unit and unit[0] and (held.get("system"), held.get("code")) != (unit[0], unit[1]):
        return False
    if unit and not unit[0] and unit[1] not in (held.get("code"), held.get("unit")):
        return False
    return {
        "eq": inside,
        "ne": not inside,
        "gt": amount > value,
        "lt": amount < value,
        "ge": amount >= value,
        "le": amount <= value,
        "sa": amount > value,
        "eb": amount < value,
    }[found[1] or "eq"]


def _composite(tree: Tree, code: str, asked: str) -> bool:
    token, quantity = _split(asked, "$")
    return any(
        any(_token(coding, token) for coding in _codings(part, "code"))
        and "valueQuantity" in part
        and _quantity(part["valueQuantity"], quantity)
        for part in COMPOSITES[code](tree)
    )
