"""What travels between services: CloudEvents 1.0 in structured JSON, and what a handler answers.

`data` is the resource's JSON text byte for byte: it is neither parsed nor written again on the way.
The attribute `sequence` is a CloudEvents Integer (at most 2^31 - 1), gap-free per source.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

SOURCE_BASE: Final = "https://kanwa.example/"
RESOURCE_CONTENT_TYPE: Final = "application/fhir+json"
#: A change that breaks consumers is a new version, sent beside the old one.
EVENT_VERSION: Final = "v1"
INTERACTIONS: Final = ("create", "update", "delete")

_SERVICE: Final = r"(?P<service>[a-z][a-z0-9-]*)"
_INTERACTION: Final = rf"(?P<interaction>{'|'.join(INTERACTIONS)})"
_EVENT_TYPE: Final = re.compile(
    rf"kanwa\.{_SERVICE}\.(?P<resource_type>[A-Z][A-Za-z]*)\.{_INTERACTION}\.{EVENT_VERSION}"
)
_HAND_OVER_TYPE: Final = re.compile(rf"kanwa\.handover\.{_INTERACTION}\.v1")
EVENT_SUBJECT: Final = re.compile(
    r"(?P<resource_type>[A-Z][A-Za-z]*)/(?P<id>[A-Za-z0-9\-.]{1,64})/_history/(?P<version>[1-9][0-9]*)"
)
_HAND_OVER_SUBJECT: Final = re.compile(r"(?P<resource_type>[A-Z][A-Za-z]*)/(?P<id>[A-Za-z0-9\-.]{1,64})")


class MalformedEnvelope(ValueError):
    """The message is no CloudEvent of kanwa; repeating its delivery can't help."""


class Wire(msgspec.Struct, kw_only=True):
    """The members of both kinds of envelope; unset ones are left out, unknown ones ignored (events grow by adding)."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str | UnsetType = UNSET
    sequence: int | UnsetType = UNSET
    target: str | UnsetType = UNSET
    baseversion: int | UnsetType = UNSET
    traceparent: str | UnsetType | None = UNSET
    correlationid: str | UnsetType | None = UNSET
    actor: str | UnsetType | None = UNSET
    data: Raw | UnsetType = UNSET


def event_type(service: str, resource_type: str, interaction: str) -> str:
    """The CloudEvents type of an event."""
    return f"kanwa.{service}.{resource_type}.{interaction}.{EVENT_VERSION}"


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Wire)


@dataclass(frozen=True, slots=True)
class Event:
    """One version of one resource came to be, told by the service that owns it.

    `id` is the outbox row's event id and stays the same however often the event is delivered. `time` is the
    commit's aware time. `body` is the version's JSON text, None for a deletion and in a notification.
    `service`, `resource_type`, `resource_id`, `version` and `interaction` are read from `type` and `subject`.
    Raises MalformedEnvelope if those two do not have kanwa's form, or if `time` has no zone.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    sequence: int
    traceparent: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    body: bytes | None = None
    service: str = field(init=False)
    resource_type: str = field(init=False)
    resource_id: str = field(init=False)
    version: int = field(init=False)
    interaction: str = field(init=False)

    def __post_init__(self) -> None:
        """Read the derived attributes."""
        kind = _matching(_EVENT_TYPE, self.type, "type")
        subject = _matching(EVENT_SUBJECT, self.subject, "subject")
        if kind["resource_type"] != subject["resource_type"]:
            raise MalformedEnvelope(
                f"type {self.type} and subject {self.subject} name different resource types"
            )
        _refuse_naive(self.time)
        for name in ("service", "resource_type", "interaction"):
            object.__setattr__(self, name, kind[name])
        object.__setattr__(self, "resource_id", subject["id"])
        object.__setattr__(self, "version", int(subject["version"]))

    @classmethod
    def of(
        cls,
        *,
        id: str,
        service: str,
        resource_type: str,
        resource_id: str,
        version: int,
        interaction: str,
        time: datetime,
        sequence: int,
        body: bytes | None = None,
        traceparent: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> "Event":
        """The event for one version of a resource that `service` owns; raises MalformedEnvelope.

        For names that the store has checked: they are not read again from `type` and `subject`.
        """
        _refuse_naive(time)
        event = object.__new__(cls)
        put = object.__setattr__
        put(event, "id", id)
        put(event, "source", SOURCE_BASE + service)
        put(event, "type", event_type(service, resource_type, interaction))
        put(event, "subject", f"{resource_type}/{resource_id}/_history/{version}")
        put(event, "time", time)
        put(event, "sequence", sequence)
        put(event, "traceparent", traceparent)
        put(event, "correlation_id", correlation_id)
        put(event, "actor", actor)
        put(event, "body", body)
        put(event, "service", service)
        put(event, "resource_type", resource_type)
        put(event, "resource_id", resource_id)
        put(event, "version", version)
        put(event, "interaction", interaction)
        return event

    @property
    def routing_key(self) -> str:
        """`<service>.<ResourceType>.<interaction>`, as bound on `kanwa.events` and `kanwa.notifications`."""
        return f"{self.service}.{self.resource_type}.{self.interaction}"

    @property
    def resource(self) -> str:
        """`<ResourceType>/<id>`: deliveries about one resource keep their order."""
        return f"{self.resource_type}/{self.resource_id}"

    def to_cloudevent(self, include_resource: bool = True) -> bytes:
        """The structured JSON; without the resource it is what crosses `kanwa.notifications`.

        White space around the body's outermost braces is not kept; every other byte is.
        """
        body = self.body if include_resource else None
        return _encoder.encode(
            Wire(
                id=self.id,
                source=self.source,
                type=self.type,
                subject=self.subject,
                time=self.time.astimezone(UTC),
                sequence=self.sequence,
                datacontenttype=UNSET if body is None else RESOURCE_CONTENT_TYPE,
                traceparent=self.traceparent or UNSET,
                correlationid=self.correlation_id or UNSET,
                actor=self.actor or UNSET,
                data=UNSET if body is None else Raw(body.strip()),
            )
        )

    @classmethod
    def from_cloudevent(cls, message: bytes) -> "Event":
        """Read structured JSON; raises MalformedEnvelope with the first thing that is wrong."""
        return _event(_decoded(message))


@dataclass(frozen=True, slots=True)
class HandOver:
    """A resource that `source`'s service asks `target` to write, since `target` owns its type.

    `id` is the outbox row's event id. `body` is the resource's JSON text, with the promised id inside; None
    for a deletion. A client may hold a 201 for it already. `base_version` is the version that an update was made of,
    None where it stands for itself.
    """

    id: str
    target: str
    interaction: str
    resource_type: str
    resource_id: str
    body: bytes | None
    source: str
    time: datetime
    traceparent: str | None = None
    actor: str | None = None
    correlation_id: str | None = None
    base_version: int | None = None

    @property
    def resource(self) -> str:
        """`<ResourceType>/<id>`: deliveries about one resource keep their order."""
        return f"{self.resource_type}/{self.resource_id}"

    @property
    def type(self) -> str:
        """The CloudEvents type, `kanwa.handover.<interaction>.v1`."""
        return f"kanwa.handover.{self.interaction}.v1"

    def to_cloudevent(self) -> bytes:
        """The structured JSON, sent to the exchange `kanwa.handover` with the target as routing key."""
        return _encoder.encode(
            Wire(
                id=self.id,
                source=self.source,
                type=self.type,
                subject=self.resource,
                time=self.time.astimezone(UTC),
                target=self.target,
                baseversion=UNSET if self.base_version is None else self.base_version,
                datacontenttype=UNSET if self.body is None else RESOURCE_CONTENT_TYPE,
                traceparent=self.traceparent or UNSET,
                correlationid=self.correlation_id or UNSET,
                actor=self.actor or UNSET,
                data=UNSET if self.body is None else Raw(self.body.strip()),
            )
        )

    @classmethod
    def from_cloudevent(cls, message: bytes) -> "HandOver":
        """Read structured JSON; raises MalformedEnvelope with the first thing that is wrong."""
        return _hand_over(_decoded(message))


@dataclass(frozen=True, slots=True)
class Ack:
    """The effect is committed, or there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed and may succeed later; `reason` goes to logs and to the dead letter, so no patient data."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """It can never succeed; the message goes to the dead letters at once. `reason` without patient data."""

    reason: str


Outcome = Ack | Retry | Reject
EventHandler = Callable[[Event], Awaitable[Outcome]]
HandOverHandler = Callable[[HandOver], Awaitable[Outcome]]


def read_message(message: bytes) -> Event | HandOver:
    """Read whatever arrives in a consumer's queue; raises MalformedEnvelope."""
    wire = _decoded(message)
    return _hand_over(wire) if _HAND_OVER_TYPE.fullmatch(wire.type) else _event(wire)


def _decoded(message: bytes) -> Wire:
    try:
        wire = _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEnvelope(f"no CloudEvents JSON: {error}") from error
    if wire.specversion != "1.0":
        raise MalformedEnvelope(f"specversion {wire.specversion!r}, expected '1.0'")
    _refuse_naive(wire.time)
    return wire


def _event(wire: Wire) -> Event:
    if wire.sequence is UNSET:
        raise MalformedEnvelope("an event has an integer attribute 'sequence'")
    return Event(
        id=wire.id,
        source=wire.source,
        type=wire.type,
        subject=wire.subject,
        time=wire.time,
        sequence=wire.sequence,
        traceparent=wire.traceparent or None,
        correlation_id=wire.correlationid or None,
        actor=wire.actor or None,
        body=_body(wire),
    )


def _hand_over(wire: Wire) -> HandOver:
    kind = _matching(_HAND_OVER_TYPE, wire.type, "type")
    subject = _matching(_HAND_OVER_SUBJECT, wire.subject, "subject")
    if wire.target is UNSET:
        raise MalformedEnvelope("a hand-over has an attribute 'target'")
    return HandOver(
        id=wire.id,
        target=wire.target,
        interaction=kind["interaction"],
        resource_type=subject["resource_type"],
        resource_id=subject["id"],
        base_version=None if wire.baseversion is UNSET else wire.baseversion,
        body=_body(wire),
        source=wire.source,
        time=wire.time,
        traceparent=wire.traceparent or None,
        actor=wire.actor or None,
        correlation_id=wire.correlationid or None,
    )


def _body(wire: Wire) -> bytes | None:
    if wire.data is UNSET:
        return None
    text = bytes(wire.data)
    return None if text == b"null" else text


def _matching(pattern: re.Pattern[str], text: str, attribute: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise MalformedEnvelope(f"{attribute} {text[:120]!r} does not have the form {pattern.pattern}")
    return match


def _refuse_naive(time: datetime) -> None:
    if time.tzinfo is None:
        raise MalformedEnvelope("'time' has no time zone")
