"""A topic-based Subscription as kanwa understands it. Profile: backport-subscription of the Subscriptions R4 Backport.

Source: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit

from kanwa_intake.domain.subscription_topics import TOPICS, SubscriptionTopic, condition_of
from kanwa_intake.domain.subscription_topics_fhir import BACKPORT
from kanwa_shared.errors import DomainError, Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

Content = Literal["empty", "id-only", "full-resource"]
CONTENTS: Final[tuple[Content, ...]] = ("empty", "id-only", "full-resource")

PAYLOAD: Final = "application/fhir+json"
TIMEOUT_SECONDS: Final = 10
TIMEOUT_SECONDS_MAX: Final = 60
EVENTS_PER_NOTIFICATION_MAX: Final = 100
HEARTBEAT_SECONDS_MIN: Final = 5
HEADERS_MAX: Final = 20
HEADER_LENGTH_MAX: Final = 2048
FILTERS_MAX: Final = 20
FILTER_LENGTH_MAX: Final = 1000
#: Stands for a header's value wherever the Subscription is read: it is a credential of somebody else's server.
MASK: Final = "***"

_EXTENSION: Final = f"{BACKPORT}/StructureDefinition/backport-"
_CLASSIC: Final = re.compile(r"[A-Z][A-Za-z]*(\?.*)?", re.DOTALL)
_HEADER_NAME: Final = re.compile(r"(?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]+):")
_HEADER: Final = re.compile(_HEADER_NAME.pattern + r"[ \t]*(?P<value>[\x20-\x7e]*)")
_PLAIN_MEDIA: Final = re.compile(
    r"application/fhir\+json(\s*;\s*(fhirVersion=4\.0(\.1)?|charset=utf-8))*", re.IGNORECASE
)
#: Headers that say how the message is framed and where it goes, and those that kanwa signs with.
_OWN_HEADERS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive",
     "te", "trailer", "upgrade", "expect", "proxy-authorization", "proxy-connection", "webhook-id",
     "webhook-timestamp", "webhook-signature"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notifications of one topic go, and how.

    `filters` are searches that a resource must satisfy, all of them. `headers` are sent as they are; a value may be
    `MASK`, which means the one that is stored. Times are seconds.
    """

    topic: SubscriptionTopic
    filters: tuple[str, ...]
    endpoint: str
    headers: tuple[tuple[str, str], ...]
    content: Content
    heartbeat_seconds: int | None
    timeout_seconds: int
    events_per_notification: int
    end: datetime | None


def is_topic_based(tree: Tree) -> bool:
    """Whether `criteria` names a topic; R4's own query (`Observation?code=…`) is stored and never acted on."""
    return _CLASSIC.fullmatch(tree["criteria"]) is None


def read_channel(tree: Tree) -> Channel:
    """The channel of a valid R4 Subscription that is topic-based. Raises SubscriptionRefused with every fault."""
    issues: list[Issue] = []
    channel = tree["channel"]
    topic = TOPICS.get(tree["criteria"].partition("|")[0])
    if topic is None:
        known = ", ".join(url.rsplit("/", 1)[1] for url in TOPICS)
        issues.append(
            _refused("criteria", f"is no topic of kanwa; topics are {_base()} followed by one of {known}")
        )
    filters = tuple(_filters(tree, topic, issues)) if topic else ()
    if channel["type"] != "rest-hook" or _value(channel.get("_type"), "channel-type") is not None:
        issues.append(_refused("channel.type", "must be rest-hook; kanwa has no other channel"))
    content = _content(channel, issues)
    endpoint = _endpoint(channel, issues)
    headers = tuple(_headers(channel.get("header", []), issues))
    heartbeat = _whole(channel, "heartbeat-period", issues, least=HEARTBEAT_SECONDS_MIN)
    timeout = _whole(channel, "timeout", issues, least=1)
    most = _whole(channel, "max-count", issues, least=1)
    if issues or topic is None:
        raise SubscriptionRefused(issues)
    return Channel(
        topic=topic,
        filters=filters,
        endpoint=endpoint,
        headers=headers,
        content=content,
        heartbeat_seconds=heartbeat,
        timeout_seconds=min(timeout or TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX),
        events_per_notification=min(most or 1, EVENTS_PER_NOTIFICATION_MAX),
        end=range_of(tree["end"])[0] if "end" in tree else None,
    )


class SubscriptionRefused(DomainError):
    """kanwa can't do what the Subscription asks; answered with 422."""

    default_code = "business-rule"


def masked(tree: Tree) -> Tree:
    """The Subscription as it may be read: header names without their values; nothing of what is no header."""
    headers = tree["channel"].get("header")
    if not headers:
        return tree
    hidden = [_masked(header) if header is not None else None for header in headers]
    return {**tree, "channel": {**tree["channel"], "header": hidden}}


def _masked(header: str) -> str:
    found = _HEADER_NAME.match(header)
    return f"{found['name']}: {MASK}" if found else MASK


def unmasked(
    headers: Sequence[tuple[str, str]], stored: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Headers with the stored values where a client wrote back the mask that it had read.

    Raises SubscriptionRefused where no value is stored: the endpoint would be sent the mask.
    """
    known = {name.lower(): value for name, value in stored}
    unknown = [
        _refused(
            f"channel.header[{number}]",
            f"{name}: {MASK} stands for a value that kanwa knows, and it knows none of this header; write the value",
        )
        for number, (name, value) in enumerate(headers)
        if value == MASK and name.lower() not in known
    ]
    if unknown:
        raise SubscriptionRefused(unknown)
    return tuple((name, known[name.lower()] if value == MASK else value) for name, value in headers)


def _base() -> str:
    return next(iter(TOPICS)).rpartition("/")[0] + "/"


def _refused(element: str, problem: str, code: str = "business-rule") -> Issue:
    return Issue(code, f"Subscription.{element} {problem}", (f"Subscription.{element}",))


def _extensions(element: Tree | None, name: str) -> list[Tree]:
    found = (element or {}).get("extension", [])
    return [extension for extension in found if extension.get("url") == _EXTENSION + name]


def _value(element: Tree | None, name: str) -> object:
    for extension in _extensions(element, name):
        return next((value for key, value in extension.items() if key.startswith("value")), None)
    return None


def _filters(tree: Tree, topic: SubscriptionTopic, issues: list[Issue]) -> Iterator[str]:
    given = [
        str(extension.get("valueString", ""))
        for extension in _extensions(tree.get("_criteria"), "filter-criteria")
    ]
    if len(given) > FILTERS_MAX or any(len(text) > FILTER_LENGTH_MAX for text in given):
        problem = f"has at most {FILTERS_MAX} filters of at most {FILTER_LENGTH_MAX} characters"
        issues.append(_refused("criteria", problem, "too-long"))
        return
    for text in given:
        query = _query(text, topic)
        problem = _problem(query, topic)
        if problem:
            issues.append(_refused("criteria.extension", f"filter '{text}': {problem}"))
        else:
            yield query


def _query(text: str, topic: SubscriptionTopic) -> str:
    """The search in a filter: `Task?owner=…`, `Task.owner=…` and `owner=…` mean the same."""
    kind, question, rest = text.partition("?")
    if question and kind == topic.resource_type:
        return rest
    return text.removeprefix(f"{topic.resource_type}.")


def _problem(query: str, topic: SubscriptionTopic) -> str | None:
    names = [part.partition("=")[0] for part in query.split("&")]
    for name in names:
        if name.partition(":")[0] not in topic.filters:
            return (
                f"'{name}' is no filter of this topic; filters are {', '.join(topic.filters)} of "
                f"{topic.resource_type}"
            )
    try:
        condition_of(topic.resource_type, query)
    except DomainError as error:
        return str(error)
    return None


def _content(channel: Tree, issues: list[Issue]) -> Content:
    media = channel.get("payload", "")
    if not _PLAIN_MEDIA.fullmatch(media):
        issues.append(_refused("channel.payload", f"must be {PAYLOAD}, the format that kanwa speaks"))
    content = _value(channel.get("_payload"), "payload-content")
    if content not in CONTENTS:
        issues.append(
            _refused(
                "channel.payload.extension",
                f"{_EXTENSION}payload-content must say how much is sent: {', '.join(CONTENTS)}",
            )
        )
        return "empty"
    return content


def _endpoint(channel: Tree, issues: list[Issue]) -> str:
    endpoint = str(channel.get("endpoint", ""))
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    else:
        valid = valid and parts.username is None and not parts.fragment
    if not valid:
        problem = "must be an https URL with a host, without user, password and fragment"
        issues.append(_refused("channel.endpoint", problem, "value"))
    return endpoint


def _headers(given: list[str], issues: list[Issue]) -> Iterator[tuple[str, str]]:
    if len(given) > HEADERS_MAX:
        issues.append(_refused("channel.header", f"has at most {HEADERS_MAX} headers", "too-long"))
        return
    for number, text in enumerate(given):
        found = _HEADER.fullmatch(text) if len(text) <= HEADER_LENGTH_MAX else None
        element = f"channel.header[{number}]"
        if found is None:
            problem = f"must be 'Name: value' in printable ASCII, at most {HEADER_LENGTH_MAX} characters"
            issues.append(_refused(element, problem, "value"))
        elif found["name"].lower() in _OWN_HEADERS:
            issues.append(_refused(element, f"is set by kanwa itself: {found['name']}"))
        else:
            yield found["name"], found["value"].rstrip()


def _whole(channel: Tree, name: str, issues: list[Issue], *, least: int) -> int | None:
    value = _value(channel, name)
    if value is None:
        return None
    if not isinstance(value, int) or value < least:
        issues.append(_refused("channel.extension", f"{_EXTENSION}{name} must be at least {least}", "value"))
        return None
    return value
