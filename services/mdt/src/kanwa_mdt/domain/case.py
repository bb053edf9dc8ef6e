"""One referral as the board shows it. Every part is a plain value: equal facts give equal text."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec


class Stage(StrEnum):
    """Where a referral stands; the board's columns, in this order."""

    REFERRED = "referred"
    AWAITING_MDT = "awaiting-mdt"
    ACCEPTED = "accepted"
    BOOKED = "booked"
    IN_PROCEDURE = "in-procedure"
    FOLLOW_UP = "follow-up"
    CLOSED = "closed"
    DECLINED = "declined"


ENDED: Final = frozenset({Stage.CLOSED, Stage.DECLINED})

#: Clinical order of ServiceRequest.priority: an alphabetical one would put routine before stat.
PRIORITIES: Final = ("stat", "asap", "urgent", "routine")


class Named(msgspec.Struct, frozen=True):
    """A reference and what to call it; `reference` is None for somebody who has only a name."""

    reference: str | None
    display: str


class PatientLabel(msgspec.Struct, frozen=True):
    """How the team knows the patient; names are empty until the Patient is known."""

    reference: str | None
    family: str
    given: str
    birth_date: str | None
    gender: str | None
    identifier: str | None
    deceased: bool


class TaskState(msgspec.Struct, frozen=True):
    """A Task as it is written back: `version` is what If-Match names."""

    id: str
    version: int
    status: str
    business_status: str
    business_words: str
    reason: str


class Decision(msgspec.Struct, frozen=True):
    """What the MDT decided, as it stands in Task.output."""

    task: str
    code: str
    display: str
    rationale: str
    participants: tuple[Named, ...]
    decided: datetime | None


class MissingItem(msgspec.Struct, frozen=True):
    """An item that the referrer was asked for."""

    item: str
    reason: str
    status: str


class AppointmentState(msgspec.Struct, frozen=True):
    """A visit: times as the suite's clock shows them, who and where."""

    id: str
    status: str
    start: str | None
    end: str | None
    actors: tuple[Named, ...]


class ProcedureState(msgspec.Struct, frozen=True):
    """A procedure; `start` and `end` as written."""

    id: str
    status: str
    name: str
    start: str | None
    end: str | None
    reason: str
    complications: tuple[str, ...]


class FollowUp(msgspec.Struct, frozen=True):
    """A planned measurement."""

    id: str
    status: str
    what: str
    due: datetime | None


class Line(msgspec.Struct, frozen=True):
    """One line of the dossier: a title, a value or remark, when, and the resource it comes from."""

    reference: str
    title: str
    detail: str
    time: datetime | None
    status: str


class Point(msgspec.Struct, frozen=True):
    """One measurement: `day` counts from the procedure (negative before it), None while there is none."""

    reference: str
    time: datetime
    value: Decimal
    text: str
    day: float | None


class Series(msgspec.Struct, frozen=True):
    """A measure over time, oldest first; `minimum` and `maximum` of its scale, None where open."""

    measure: str
    display: str
    unit: str
    better: str
    minimum: int | None
    maximum: int | None
    primary: bool
    points: tuple[Point, ...]


class OutcomeState(msgspec.Struct, frozen=True):
    """An outcome that kanwa derived; `code` is the class (SE, improved …), empty for a measured change."""

    kind: str
    title: str
    code: str
    display: str
    time: datetime | None


class Dossier(msgspec.Struct, frozen=True):
    """What the team reads before it decides."""

    conditions: tuple[Line, ...] = ()
    laboratory: tuple[Line, ...] = ()
    performance: tuple[Line, ...] = ()
    imaging: tuple[Line, ...] = ()
    documents: tuple[Line, ...] = ()
    allergies: tuple[Line, ...] = ()
    medication: tuple[Line, ...] = ()
    issues: tuple[Line, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """A referral and all that belongs to it. `updated` is the commit of the newest version in it."""

    service_request: str
    status: str
    priority: str
    stage: Stage
    patient: PatientLabel
    procedure_code: str
    procedure: str
    body_site: str
    reason: str
    note: str
    requester: Named | None
    authored: datetime | None
    due: datetime | None
    ended: datetime | None
    ending: str
    updated: datetime
    coordination: TaskState | None
    mdt: TaskState | None
    review: bool
    decision: Decision | None
    missing: tuple[MissingItem, ...]
    appointment: AppointmentState | None
    procedures: tuple[ProcedureState, ...]
    follow_ups: tuple[FollowUp, ...]
    outcomes: tuple[OutcomeState, ...]
    series: tuple[Series, ...]
    dossier: Dossier
    site: Named | None
    members: tuple[str, ...]

    @property
    def urgency(self) -> int:
        """0 (stat) to 3 (routine)."""
        return PRIORITIES.index(self.priority)

    @property
    def open_items(self) -> int:
        """How many items the referrer still owes."""
        return sum(item.status == "requested" for item in self.missing)

    @property
    def sites(self) -> tuple[str, ...]:
        """What the event stream can be filtered by: the suite's reference, if a visit is planned."""
        return (self.site.reference,) if self.site is not None and self.site.reference else ()


def written(case: Case) -> str:
    """The case as text: the same text for the same case."""
    return msgspec.json.encode(case).decode()


def read(text: str) -> Case:
    """The case of a text that `written` gave."""
    return _decoder.decode(text)


_decoder: Final = msgspec.json.Decoder(Case)
