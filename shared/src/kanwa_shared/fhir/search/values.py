"""From an element's JSON value to index rows, by search parameter type and data type."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import EARLIEST, LATEST, Range, period_of, range_of
from kanwa_shared.fhir.search.definitions import ElementPath, SearchParameter, all_types
from kanwa_shared.fhir.search.text import normalised
from kanwa_shared.fhir.search.tokens import forms_of, present

UNBOUNDED: Final = Decimal("Infinity")
_NO_SAMPLES: Final = frozenset("ELU")
UNIT_SEPARATOR: Final = "\n"
"""Between code and unit in a quantity row's `code`, where the unit is written otherwise than the code."""


@dataclass(slots=True)
class Rows:
    """Index rows while one resource is walked."""

    tree: Tree
    base_url: str
    zone: tzinfo = UTC
    tokens: dict[str, None] = field(default_factory=lambda: {})
    references: dict[tuple[str, str, str], None] = field(default_factory=lambda: {})
    dates: list[tuple[str, datetime, datetime]] = field(default_factory=lambda: [])
    quantities: list[tuple[str, Decimal, Decimal, str, str]] = field(default_factory=lambda: [])
    strings: list[tuple[str, str, str]] = field(default_factory=lambda: [])

    def contained_type(self, fragment: str) -> str:
        """Type of the contained resource that `#id` names; "" if there is none."""
        contained = self.tree.get("contained", ())
        return next((entry["resourceType"] for entry in contained if f"#{entry.get('id')}" == fragment), "")


Action = Callable[[Any, Rows], None]


def action_for(parameter: SearchParameter, path: ElementPath) -> Action:
    """What to do with a value found at `path`."""
    match parameter.type:
        case "token" | "uri":
            return _tokens(parameter, path)
        case "reference":
            return _references(parameter, path)
        case "date":
            return _dates(parameter.code, path.datatype)
        case "string":
            return _strings(parameter, path.datatype)
        case _:
            return _quantities(parameter.code, path.datatype)


def _tokens(parameter: SearchParameter, path: ElementPath) -> Action:
    prefix = f"{parameter.resource_type}.{parameter.code}"
    forms = forms_of(path.datatype)

    def add(value: Any, rows: Rows) -> None:
        for form in forms(value):
            rows.tokens[prefix + form] = None

    def add_identifier(value: Any, rows: Rows) -> None:
        add(value, rows)
        for coding in value.get("type", {}).get("coding", ()):
            type_token = f"{coding.get('system', '')}|{coding.get('code', '')}"
            rows.tokens[f"{prefix}:of-type={type_token}|{value.get('value', '')}"] = None

    def add_canonical(value: Any, rows: Rows) -> None:
        rows.tokens[f"{prefix}={value}"] = None
        rows.tokens[f"{prefix}={value.partition('|')[0]}"] = None

    def add_beside_codes(value: Any, rows: Rows) -> None:
        for form in forms(value):
            rows.tokens[prefix + form] = None
            rows.tokens[f"{prefix}||{form[1:]}"] = None

    if path.datatype == "Identifier":
        return add_identifier
    if path.datatype == "canonical":
        return add_canonical
    if path.datatype == "boolean" and not parameter.primitive:
        return add_beside_codes
    return add


def local_reference(reference: str, base_url: str) -> tuple[str, str] | None:
    """(type, id) of a reference into this server, a version left out; None for any other reference."""
    if base_url and reference.startswith(base_url):
        reference = reference[len(base_url) :].lstrip("/")
    parts = reference.split("/")
    if len(parts) == 2 or (len(parts) == 4 and parts[2] == "_history"):
        resource_type = parts[0]
        if resource_type in _known_types() and parts[1]:
            return resource_type, parts[1]
    return None


_types: frozenset[str] = frozenset()


def _known_types() -> frozenset[str]:
    global _types
    if not _types:
        _types = frozenset(all_types())
    return _types


def _references(parameter: SearchParameter, path: ElementPath) -> Action:
    prefix = f"{parameter.resource_type}.{parameter.code}"
    code, wanted, borrowed = parameter.code, path.target, bool(parameter.of)
    mark = "" if parameter.required else present(parameter.resource_type, parameter.code)

    def add(value: Any, rows: Rows) -> None:
        text = value.get("reference", "")
        target = local_reference(text, rows.base_url)
        held = target[0] if target else _type_of(value, text, rows)
        if wanted and held not in (wanted, "" if "identifier" in value else wanted):
            return
        if mark:
            rows.tokens[mark] = None
        if "identifier" in value:
            for form in forms_of("Identifier")(value["identifier"]):
                rows.tokens[f"{prefix}:identifier{form}"] = None
        if borrowed or not text:
            return
        if target:
            rows.tokens[f"{prefix}={target[0]}/{target[1]}"] = None
            rows.references[code, target[0], target[1]] = None
        elif not text.startswith("#"):
            rows.tokens[f"{prefix}={text}"] = None

    def add_canonical(value: Any, rows: Rows) -> None:
        if mark:
            rows.tokens[mark] = None
        rows.tokens[f"{prefix}={value}"] = None
        rows.tokens[f"{prefix}={value.partition('|')[0]}"] = None

    def add_entry(value: Any, rows: Rows) -> None:
        if value.get("resourceType") == wanted and value.get("id"):
            rows.tokens[f"{prefix}={wanted}/{value['id']}"] = None
            rows.tokens[mark] = None

    if path.datatype == "Reference":
        return add
    return add_entry if path.datatype == "Resource" else add_canonical


def _type_of(value: Any, text: str, rows: Rows) -> str:
    """Type of what a reference points to elsewhere, as its URL, its `type` or the contained resource says."""
    if text.startswith("#"):
        return rows.contained_type(text)
    parts = text.removesuffix("/").split("/_history/")[0].rsplit("/", 2)
    if len(parts) == 3 and parts[1] in _known_types():
        return parts[1]
    return value.get("type", "")


def _dates(code: str, datatype: str) -> Action:
    ranges = {"Period": _period, "Timing": _timing}.get(datatype, _moment)

    def add(value: Any, rows: Rows) -> None:
        for low, high in ranges(value, rows.zone):
            rows.dates.append((code, low, high))

    return add


def _moment(value: Any, zone: tzinfo) -> Iterator[Range]:
    yield range_of(value, zone)


def _period(value: Any, zone: tzinfo) -> Iterator[Range]:
    if "start" in value or "end" in value:
        yield period_of(value.get("start"), value.get("end"), zone)


def _timing(value: Any, zone: tzinfo) -> Iterator[Range]:
    """The outer limits of the schedule (R4 search, "date"), open where it names none."""
    spans = [range_of(event, zone) for event in value.get("event", ()) if event]
    spans.extend(_period(value.get("repeat", {}).get("boundsPeriod", {}), zone))
    yield min((low for low, _ in spans), default=EARLIEST), max((high for _, high in spans), default=LATEST)


def _strings(parameter: SearchParameter, datatype: str) -> Action:
    code, borrowed = parameter.code, bool(parameter.union)
    parts = {"HumanName": _human_name, "Address": _address}.get(datatype)

    def add(value: Any, rows: Rows) -> None:
        rows.strings.append((code, normalised(value), value))

    def add_parts(value: Any, rows: Rows) -> None:
        for text in parts(value, borrowed) if parts else ():
            if text:
                add(text, rows)

    return add_parts if parts else add


def _human_name(value: Any, borrowed: bool) -> Iterator[str | None]:
    yield value.get("text")
    yield from value.get("prefix", ())
    yield from value.get("suffix", ())
    if not borrowed:
        yield value.get("family")
        yield from value.get("given", ())


def _address(value: Any, borrowed: bool) -> Iterator[str | None]:
    yield value.get("text")
    yield from value.get("line", ())
    yield value.get("district")
    if not borrowed:
        for part in ("city", "state", "postalCode", "country"):
            yield value.get(part)


QuantityRange = tuple[Decimal, Decimal, str, str]


def _quantities(code: str, datatype: str) -> Action:
    ranges = quantity_ranges(datatype)

    def add(value: Any, rows: Rows) -> None:
        rows.quantities.extend((code, *found) for found in ranges(value))

    return add


def quantity_ranges(datatype: str) -> Callable[[Any], Iterator[QuantityRange]]:
    """Reads (low, high, system, code) from values of a data type; a bare number has no system and no code."""
    return {"Quantity": _quantity, "Range": _range, "Money": _money, "SampledData": _sampled}.get(
        datatype, _number
    )


def _quantity(value: Any) -> Iterator[QuantityRange]:
    if "value" in value:
        amount = _decimal(value["value"])
        comparator = value.get("comparator", "")
        low = -UNBOUNDED if comparator.startswith("<") else amount
        high = UNBOUNDED if comparator.startswith(">") else amount
        yield low, high, value.get("system", ""), _unit(value)


def _unit(value: Any) -> str:
    code, unit = value.get("code", ""), value.get("unit", "")
    return code if unit in ("", code) else f"{code}{UNIT_SEPARATOR}{unit}"


def _range(value: Any) -> Iterator[QuantityRange]:
    low, high = value.get("low", {}), value.get("high", {})
    if "value" in low or "value" in high:
        described = low or high
        yield (
            _decimal(low.get("value", -UNBOUNDED)),
            _decimal(high.get("value", UNBOUNDED)),
            described.get("system", ""),
            _unit(described),
        )


def _money(value: Any) -> Iterator[QuantityRange]:
    if "value" in value:
        amount = _decimal(value["value"])
        yield amount, amount, "urn:iso:std:iso:4217", value.get("currency", "")


def _sampled(value: Any) -> Iterator[QuantityRange]:
    """The bounds of the samples; one beyond the limits of detection (`L`, `U`) leaves that side open."""
    origin, marks = value.get("origin", {}), value.get("data", "").split()
    factor = _decimal(value.get("factor", 1))
    zero = _decimal(origin.get("value", 0))
    samples = [zero + factor * Decimal(mark) for mark in marks if mark not in _NO_SAMPLES]
    below, above = "L" in marks, "U" in marks
    if samples or below or above:
        yield (
            -UNBOUNDED if below or not samples else min(samples),
            UNBOUNDED if above or not samples else max(samples),
            origin.get("system", ""),
            _unit(origin),
        )


def _number(value: Any) -> Iterator[QuantityRange]:
    amount = _decimal(value)
    yield amount, amount, "", ""


def _decimal(value: Decimal | float) -> Decimal:
    """The number as it is written; a float that our own code put into a tree is not its binary expansion."""
    return Decimal(value) if isinstance(value, Decimal) else Decimal(str(value))
