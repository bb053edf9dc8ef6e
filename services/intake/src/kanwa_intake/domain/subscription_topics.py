"""What a client can subscribe to: one topic for each step of the referral loop.

A topic fires when a version of its resource type is committed that satisfies `current`, and the version before it
(if there is one) satisfies `previous`. Both are R4 searches, decided on the version alone; they are published as they
stand, in `subscription_topics_fhir`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import parse_qsl

from kanwa_intake.domain.coordination import ORDERS
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import index, parse_search
from kanwa_shared.fhir.search.conditions import Condition
from kanwa_shared.fhir.search.satisfied import check_decidable, satisfies

TriggerInteraction = Literal["create", "update"]
ANY_WRITE: Final[tuple[TriggerInteraction, ...]] = ("create", "update")


@dataclass(frozen=True, slots=True)
class SubscriptionTopic:
    """One kind of event. `current` and `previous` are searches ("" asks nothing), `filters` the search parameters
    that a Subscription may narrow it by."""

    id: str
    title: str
    description: str
    resource_type: str
    current: str
    previous: str
    filters: tuple[str, ...]
    interactions: tuple[TriggerInteraction, ...] = ANY_WRITE

    @property
    def url(self) -> str:
        """The canonical URL that `Subscription.criteria` names."""
        return f"{codes.CANONICAL}/SubscriptionTopic/{self.id}"


_REQUEST: Final = ("_id", "patient", "priority", "code", "category", "requester", "performer", "identifier")
_TASK: Final = (
    "_id",
    "patient",
    "focus",
    "based-on",
    "owner",
    "requester",
    "priority",
    "business-status",
    "status",
)
_APPOINTMENT: Final = (
    "_id",
    "patient",
    "based-on",
    "location",
    "practitioner",
    "actor",
    "service-type",
    "status",
)
_PROCEDURE: Final = ("_id", "patient", "based-on", "code", "location", "performer", "status")
_OBSERVATION: Final = ("_id", "patient", "based-on", "part-of", "code", "category", "status")


def _code(parameter: str, system: str, code: str) -> str:
    return f"{parameter}={system}|{code}"


_ALL: Final[Sequence[SubscriptionTopic]] = (
    SubscriptionTopic(
        "referral-received", "Referral received",
        "A ServiceRequest became active: a patient is referred, or a draft or paused referral goes ahead",
        "ServiceRequest", f"status=active&intent={','.join(sorted(ORDERS))}", "status:not=active", _REQUEST,
    ),
    SubscriptionTopic(
        "mdt-review-requested", "MDT review requested",
        "The multidisciplinary team is asked to decide: its Task was requested",
        "Task", f"{_code('code', codes.TASK_CODE, 'approve')}&status=requested", "status:not=requested", _TASK,
    ),
    SubscriptionTopic(
        "mdt-decided", "MDT decided",
        "The team's Task was completed; its output holds the decision, the rationale and who took part",
        "Task", f"{_code('code', codes.TASK_CODE, 'approve')}&status=completed", "status:not=completed", _TASK,
    ),
    SubscriptionTopic(
        "referral-progressed", "Referral progressed",
        "The coordination Task of a referral was written: Task.status and Task.businessStatus say how far it is",
        "Task", _code("code", codes.TASK_CODE, "fulfill"), "", _TASK,
    ),
    SubscriptionTopic(
        "appointment-held", "Appointment held",
        "A time for the procedure is held until it is booked or the hold ends",
        "Appointment", "status=pending", "status:not=pending", _APPOINTMENT,
    ),
    SubscriptionTopic(
        "appointment-booked", "Appointment booked",
        "A time for the procedure is booked",
        "Appointment", "status=booked", "status:not=booked", _APPOINTMENT,
    ),
    SubscriptionTopic(
        "appointment-cancelled", "Appointment cancelled",
        "A held or booked time is given up, or the patient did not come",
        "Appointment", "status=cancelled,noshow,entered-in-error",
        "status:not=cancelled,noshow,entered-in-error", _APPOINTMENT,
    ),
    SubscriptionTopic(
        "procedure-started", "Procedure started",
        "The procedure is under way",
        "Procedure", "status=in-progress", "status:not=in-progress", _PROCEDURE,
    ),
    SubscriptionTopic(
        "procedure-ended", "Procedure ended",
        "The procedure was completed, stopped or not done",
        "Procedure", "status=completed,stopped,not-done", "status:not=completed,stopped,not-done", _PROCEDURE,
    ),
    SubscriptionTopic(
        "follow-up-planned", "Follow-up planned",
        "A measurement after the procedure is due at a time: its Task was made",
        "Task", _code("code", codes.TASK, "follow-up"), "", _TASK, ("create",),
    ),
    SubscriptionTopic(
        "observation-recorded", "Observation recorded",
        "A measurement came in or was corrected",
        "Observation", "status=final,amended,corrected,preliminary,entered-in-error", "", _OBSERVATION,
    ),
    SubscriptionTopic(
        "outcome-derived", "Outcome derived",
        "kanwa derived a result from measurements, such as the response class, or derived it anew",
        "Observation", _code("code", codes.OUTCOME, ""), "", _OBSERVATION,
    ),
    SubscriptionTopic(
        "adverse-event-reported", "Adverse event reported",
        "An adverse event was reported or corrected",
        "AdverseEvent", "", "", ("_id", "subject", "event", "severity", "seriousness", "actuality", "location"),
    ),
    SubscriptionTopic(
        "summary-available", "Summary available",
        "The summary for the referrer is there, or there in a new version",
        "DocumentReference", _code("type", codes.DOCUMENT_TYPE, "referral-summary"), "",
        ("_id", "patient", "related", "status"),
    ),
    SubscriptionTopic(
        "referral-closed", "Referral closed",
        "The ServiceRequest ended: completed, revoked or entered in error",
        "ServiceRequest", "status=completed,revoked,entered-in-error",
        "status:not=completed,revoked,entered-in-error", _REQUEST,
    ),
)  # fmt: skip

#: Every topic by its canonical URL.
TOPICS: Final[Mapping[str, SubscriptionTopic]] = MappingProxyType({topic.url: topic for topic in _ALL})
#: The types that some topic is about.
TOPIC_TYPES: Final = frozenset(topic.resource_type for topic in _ALL)


@lru_cache(maxsize=4096)
def condition_of(resource_type: str, query: str) -> Condition:
    """The condition of a topic's or a filter's query. Raises NotSupported or Invalid as a search would, and
    NotSupported for what can't be decided on a version alone."""
    condition = parse_search(resource_type, parse_qsl(query, keep_blank_values=True)).condition
    check_decidable(condition)
    return condition


def topics_met(resource_type: str, interaction: str, tree: Tree, base_url: str) -> list[SubscriptionTopic]:
    """Topics whose `current` a committed version satisfies; their `previous` is still to be asked."""
    topics = [t for t in _ALL if t.resource_type == resource_type and interaction in t.interactions]
    if not topics:
        return []
    rows = index(tree, base_url=base_url)
    return [
        topic
        for topic in topics
        if satisfies(condition_of(resource_type, topic.current), rows, tree["id"], base_url=base_url)
    ]


def fires(topic: SubscriptionTopic, previous: Tree | None, base_url: str) -> bool:
    """Whether a version that meets the topic is news, given the version before it; None: there was none."""
    if previous is None or not topic.previous:
        return True
    rows = index(previous, base_url=base_url)
    condition = condition_of(topic.resource_type, topic.previous)
    return satisfies(condition, rows, previous["id"], base_url=base_url)
