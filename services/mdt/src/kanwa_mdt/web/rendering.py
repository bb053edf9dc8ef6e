"""Cases as pages: words, clocks and fragments. What is shown follows from the case and the time of day."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kanwa_mdt.domain.case import ENDED, Case, OutcomeState, Stage
from kanwa_mdt.domain.wording import moment, unit_words
from kanwa_shared.clinical.catalogue import catalogue

STAGE_WORDS: Final[Mapping[Stage, str]] = {
    Stage.REFERRED: "Referred",
    Stage.AWAITING_MDT: "Awaiting MDT",
    Stage.ACCEPTED: "To schedule",
    Stage.BOOKED: "Booked",
    Stage.IN_PROCEDURE: "In procedure",
    Stage.FOLLOW_UP: "Follow-up",
    Stage.CLOSED: "Closed",
    Stage.DECLINED: "Declined",
}
PRIORITY_WORDS: Final = {"stat": "STAT", "asap": "ASAP", "urgent": "Urgent", "routine": "Routine"}
DECISION_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "recommended": ("Recommended", "Goes to scheduling; a care plan is written."),
    "alternative": ("Alternative", "Another procedure: name it in the rationale. This referral is declined."),
    "deferred": ("Deferred", "Comes back at the next meeting."),
    "not-indicated": ("Not indicated", "No interventional procedure. The referrer is told why."),
}
#: An emergency went ahead: its review changes nothing that is under way.
REVIEW_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "recommended": ("Recommended", "The team would have decided the same; a care plan is written."),
    "alternative": ("Alternative", "The team would have chosen another procedure: name it."),
    "deferred": ("Deferred", "Reviewed at the next meeting."),
    "not-indicated": ("Not indicated", "The team would not have intervened."),
}
_GOOD: Final = frozenset({"SE", "ME", "improved", "no-rebleeding"})
_POOR: Final = frozenset({"NE", "not-improved", "rebleeding"})


@dataclass(frozen=True, slots=True)
class Column:
    """One stage of the board: the cards that are shown and how many there are."""

    stage: Stage
    cards: Sequence["Card"]
    count: int

    @property
    def title(self) -> str:
        """The stage in words."""
        return STAGE_WORDS[self.stage]


@dataclass(frozen=True, slots=True)
class Card:
    """A case and its rendered card; `digest` changes whenever the card does."""

    case: Case
    html: Markup
    digest: str


class Rendering:
    """Renders the templates; `zone` is that of the clocks. Labels of places and people come with calls."""

    def __init__(self, zone: ZoneInfo):
        self._zone = zone
        self._templates = Environment(
            loader=PackageLoader("kanwa_mdt.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Any] = {
            "clock": self.clock,
            "day": self.day,
            "short": self.short,
            "iso": _iso,
            "unit": unit_words,
            "outcome_tone": outcome_tone,
        }
        cast("dict[str, Any]", self._templates.filters).update(filters)
        shared: dict[str, Any] = {
            "stage_words": STAGE_WORDS,
            "priority_words": PRIORITY_WORDS,
            "decision_words": DECISION_WORDS,
            "review_words": REVIEW_WORDS,
            "group_of": group_of,
            "patient_name": patient_name,
            "age_of": age_of,
            "main_outcome": main_outcome,
            "stages": tuple(Stage),
            "ended": ENDED,
        }
        cast("dict[str, Any]", self._templates.globals).update(shared)

    def page(self, template: str, **values: Any) -> str:
        """A whole page or fragment."""
        return self._templates.get_template(template).render(**values)

    def card(self, case: Case, labels: Mapping[str, str], now: datetime) -> Card:
        """A case as a card of the board."""
        html = self.page(
            "card.html", case=case, labels=labels, now=now, next_step=self.next_step(case, labels, now)
        )
        digest = hashlib.blake2b(html.encode(), digest_size=8).hexdigest()
        return Card(case, Markup(html), digest)  # noqa: S704  # rendered with autoescape right above

    def next_step(self, case: Case, labels: Mapping[str, str], now: datetime) -> str:
        """What the case waits for, in a few words."""
        match case.stage:
            case Stage.REFERRED:
                items = case.open_items
                return f"Waiting for {items} item{'s' if items != 1 else ''}" if items else "Triage"
            case Stage.AWAITING_MDT:
                deferred = case.decision is not None and case.decision.code == "deferred"
                return "Deferred: decide again" if deferred else "Decide"
            case Stage.ACCEPTED:
                return self._unscheduled(case)
            case Stage.BOOKED:
                start = moment(case.appointment.start) if case.appointment else None
                return self.short(start, now) if start else "Booked"
            case Stage.IN_PROCEDURE:
                begun = moment(case.procedures[-1].start) if case.procedures else None
                return f"Since {self.clock(begun)}" if begun else "Under way"
            case Stage.FOLLOW_UP:
                return self._follow_up(case, now)
            case _:
                return case.ending

    def _unscheduled(self, case: Case) -> str:
        status = case.appointment.status if case.appointment else ""
        start = moment(case.appointment.start) if case.appointment else None
        words = {
            "pending": f"Time held: {self.short(start)}",
            "noshow": "Did not come: book again",
            "cancelled": "Visit cancelled: book again",
        }
        return words.get(status, "Find a time")

    def _follow_up(self, case: Case, now: datetime) -> str:
        waiting = [
            f for f in case.follow_ups if f.status in {"requested", "ready", "accepted", "in-progress"}
        ]
        if not waiting:
            return "Outcome awaited"
        first = waiting[0]
        late = first.due is not None and first.due < now
        return (
            f"{'Overdue' if late else 'Next'}: {first.what.partition(',')[0]} {self.day(first.due)}".strip()
        )

    def local(self, time: datetime) -> datetime:
        """The time on the board's clock; as it is where the calendar ends before the board's day does."""
        try:
            return time.astimezone(self._zone)
        except OverflowError:
            return time

    def clock(self, time: datetime | None) -> str:
        """14:05."""
        return f"{self.local(time):%H:%M}" if time else ""

    def day(self, time: datetime | None) -> str:
        """25 Nov."""
        return f"{self.local(time):%-d %b}" if time else ""

    def short(self, time: datetime | None, now: datetime | None = None) -> str:
        """Wed 25 Nov 14:05, and only the clock if it is today."""
        if time is None:
            return ""
        if now is not None and self.local(time).date() == self.local(now).date():
            return f"Today {self.clock(time)}"
        return f"{self.local(time):%a %-d %b %H:%M}"


def patient_name(case: Case) -> str:
    """AOKI Haru, or what there is."""
    label = case.patient
    name = " ".join(
        part for part in (label.family.upper() if label.given else label.family, label.given) if part
    )
    return name or label.reference or "Unknown patient"


def age_of(case: Case, now: datetime) -> str:
    """Age in years today; empty if the birth date is not known to the day."""
    born = case.patient.birth_date or ""
    if len(born) != len("1958-03-02"):
        return ""
    year, month, day = map(int, born.split("-"))
    years = now.year - year - ((now.month, now.day) < (month, day))
    return f"{years} y"


def group_of(case: Case) -> str:
    """drainage, stent, pain or bleeding; empty for a procedure that is not in the catalogue."""
    entry = catalogue().get(case.procedure_code)
    return entry.group if entry else ""


def main_outcome(case: Case) -> OutcomeState | None:
    """The outcome that a card shows."""
    return case.outcomes[0] if case.outcomes else None


def outcome_tone(outcome: OutcomeState) -> str:
    """good, poor or neutral: for the badge, which says it in words as well."""
    return "good" if outcome.code in _GOOD else "poor" if outcome.code in _POOR else "neutral"


def _iso(time: datetime) -> str:
    return time.isoformat()
