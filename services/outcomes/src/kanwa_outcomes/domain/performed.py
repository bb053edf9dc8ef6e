"""A completed procedure of the referral loop, as the derivation reads it."""

from dataclasses import dataclass
from datetime import datetime

from kanwa_outcomes.domain.references import references
from kanwa_shared.clinical.catalogue import CatalogueEntry, procedure_of
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of


@dataclass(frozen=True, slots=True)
class Performed:
    """`reference` is the Procedure's; `request` and `referred` are those of the ServiceRequest, if it has one.

    `entry` is None for a procedure that is not in the catalogue. `started` and `ended` are None where the
    Procedure says only in words when it was performed. Times are aware UTC. `complications` are words.
    """

    reference: str
    display: str
    subject: Tree
    entry: CatalogueEntry | None
    request: str | None
    started: datetime | None
    ended: datetime | None
    referred: datetime | None
    complications: tuple[str, ...]

    @property
    def id(self) -> str:
        """The Procedure's id."""
        return self.reference.partition("/")[2]


def request_of(procedure: Tree) -> str | None:
    """`ServiceRequest/id` that a Procedure is based on; the first in alphabetical order if it names several."""
    return min(references(procedure.get("basedOn", ()), "ServiceRequest"), default=None)


def read_performed(reference: str, procedure: Tree, request: Tree | None) -> Performed:
    """The procedure; `request` is the tree of its ServiceRequest if it is known.

    The catalogue entry is that of Procedure.code, else that of ServiceRequest.code.
    """
    entry = procedure_of(procedure.get("code")) or procedure_of((request or {}).get("code"))
    started, ended = _times(procedure)
    referred = (request or {}).get("authoredOn")
    return Performed(
        reference,
        entry.display if entry else _words(procedure.get("code") or (request or {}).get("code") or {}),
        procedure["subject"],
        entry,
        request_of(procedure),
        started,
        ended,
        range_of(referred)[0] if referred else None,
        tuple(_words(concept) for concept in procedure.get("complication", ())),
    )


def _times(procedure: Tree) -> tuple[datetime | None, datetime | None]:
    """Start and end; one stands for the other where only one is given."""
    period: Tree = procedure.get("performedPeriod", {})
    start = period.get("start") or procedure.get("performedDateTime") or period.get("end")
    end = period.get("end") or start
    if not start or not end:
        return None, None
    return range_of(start)[0], range_of(end)[0]


def _words(concept: Tree) -> str:
    codings: list[Tree] = concept.get("coding", [])
    shown = [str(coding["display"]) for coding in codings if "display" in coding]
    return str(concept.get("text") or next(iter(shown), "not named"))
