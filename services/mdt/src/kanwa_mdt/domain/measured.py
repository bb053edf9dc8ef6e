"""Measurements of a referral: series for the curves, laboratory values, derived outcomes."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kanwa_mdt.domain.case import Line, OutcomeState, Point, Series
from kanwa_mdt.domain.fact import Fact, is_laboratory
from kanwa_mdt.domain.wording import begin, concept_words, moment, value_words
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import CatalogueEntry, Measure, measures
from kanwa_shared.fhir.json_types import Tree

_NO_RESULT: Final = frozenset({"registered", "cancelled", "entered-in-error"})
_SECONDS_PER_DAY: Final = 86400


def series(facts: Iterable[Fact], entry: CatalogueEntry | None, done: datetime | None) -> tuple[Series, ...]:
    """One series per measure with a value: those of the procedure first, the primary one at the head.

    `done` is when the procedure was done; days count from it.
    """
    observations = [fact for fact in facts if fact.tree.get("status") not in _NO_RESULT]
    found = (_one_series(measure, observations, entry, done) for measure in _measures_of(entry))
    return tuple(one for one in found if one is not None)


def outcomes(facts: Iterable[Fact]) -> tuple[OutcomeState, ...]:
    """The derived Observations, the judgement at the primary day first."""
    found = [_outcome(fact) for fact in facts if codes.codes_of(fact.tree.get("code", {}), codes.OUTCOME)]
    return tuple(
        sorted(found, key=lambda o: (o.kind == "response-at-follow-up", str(o.time), o.kind, o.code))
    )


def laboratory(facts: Iterable[Fact]) -> tuple[Line, ...]:
    """The newest value of each laboratory test."""
    newest: dict[str, Line] = {}
    for fact in facts:
        if fact.tree.get("status") in _NO_RESULT or not is_laboratory(fact.tree.get("code", {})):
            continue
        line = value_line(fact)
        known = newest.get(line.title)
        if known is None or _when(line) > _when(known):
            newest[line.title] = line
    return tuple(newest[title] for title in sorted(newest))


def value_line(fact: Fact) -> Line:
    """An Observation as a line of the dossier."""
    tree = fact.tree
    when = begin(tree, "effective") or moment(tree.get("issued"))
    return Line(
        fact.reference, concept_words(tree.get("code")), value_words(tree), when, str(tree.get("status", ""))
    )


def _measures_of(entry: CatalogueEntry | None) -> Iterator[Measure]:
    planned = (entry.follow_up.primary, *entry.follow_up.measures) if entry else ()
    shown: set[str] = set()
    for measure in (*planned, *measures().values()):
        # Laboratory values that are not this procedure's measure stand in the dossier.
        if measure.id in shown or (
            measure not in planned and any(is_laboratory(codes.loinc(c)) for c in measure.loinc)
        ):
            continue
        shown.add(measure.id)
        yield measure


def _one_series(
    measure: Measure, observations: list[Fact], entry: CatalogueEntry | None, done: datetime | None
) -> Series | None:
    measured = (f for f in observations if measure.measures(f.tree.get("code", {})))
    points = [point for point in (_point(fact, done) for fact in measured) if point is not None]
    if not points:
        return None
    return Series(
        measure=measure.id,
        display=measure.display,
        unit=measure.unit,
        better=measure.better,
        minimum=measure.minimum,
        maximum=measure.maximum,
        primary=entry is not None and measure == entry.follow_up.primary,
        points=tuple(sorted(points, key=lambda p: (p.time, p.reference))),
    )


def _point(fact: Fact, done: datetime | None) -> Point | None:
    when, value = begin(fact.tree, "effective"), _number(fact.tree)
    if when is None or value is None:
        return None
    day = None if done is None else round((when - done).total_seconds() / _SECONDS_PER_DAY, 3)
    return Point(fact.reference, when, value, value_words(fact.tree), day)


def _number(tree: Tree) -> Decimal | None:
    quantity = tree.get("valueQuantity", {})
    value: Any = tree.get("valueInteger", quantity.get("value"))
    # "< 0.5" is no number that a curve could go through.
    return None if value is None or "comparator" in quantity else Decimal(value)


def _outcome(fact: Fact) -> OutcomeState:
    tree = fact.tree
    concept = tree.get("valueCodeableConcept", {})
    coded = [str(c["code"]) for c in concept.get("coding", ()) if "code" in c]
    kind = codes.codes_of(tree["code"], codes.OUTCOME)[0]
    shown = concept_words(concept) or value_words(tree)
    return OutcomeState(
        kind, concept_words(tree["code"]), coded[0] if coded else "", shown, begin(tree, "effective")
    )


def _when(line: Line) -> tuple[float, str]:
    return (line.time.timestamp() if line.time else float("-inf"), line.reference)
