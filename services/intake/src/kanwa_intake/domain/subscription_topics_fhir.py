"""The topics as R4 resources: Basic, with the cross-version extensions of R5's SubscriptionTopic.

R4 has no SubscriptionTopic; https://hl7.org/fhir/uv/subscriptions-backport/components.html says to wrap it so, and to
name the topics' canonical URLs in the CapabilityStatement.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from kanwa_intake.domain.subscription_topics import TOPICS, SubscriptionTopic
from kanwa_shared.fhir.json_types import Tree

BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport"
_ELEMENT: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_VERSION: Final = "1.0.0"
_DATE: Final = "2026-11-25"


@cache
def topic_resources() -> Sequence[Tree]:
    """Every topic, found by `GET Basic?code=http://hl7.org/fhir/fhir-types|SubscriptionTopic`."""
    return tuple(_basic(topic) for topic in TOPICS.values())


def subscription_capability() -> Tree:
    """What the CapabilityStatement says of Subscription beside its interactions."""
    return {
        "extension": [
            {
                "url": f"{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical",
                "valueCanonical": url,
            }
            for url in TOPICS
        ],
        "supportedProfile": [f"{BACKPORT}/StructureDefinition/backport-subscription"],
    }


def _basic(topic: SubscriptionTopic) -> Tree:
    return {
        "resourceType": "Basic",
        "id": f"topic-{topic.id}",
        "modifierExtension": [{"url": f"{_ELEMENT}status", "valueCode": "active"}],
        "extension": [
            {"url": f"{_ELEMENT}url", "valueUri": topic.url},
            {"url": f"{_ELEMENT}version", "valueString": _VERSION},
            {"url": f"{_ELEMENT}title", "valueString": topic.title},
            {"url": f"{_ELEMENT}date", "valueDateTime": _DATE},
            {"url": f"{_ELEMENT}description", "valueMarkdown": topic.description},
            {"url": f"{_ELEMENT}resourceTrigger", "extension": _trigger(topic)},
            *(
                {"url": f"{_ELEMENT}canFilterBy", "extension": _filter(topic, parameter)}
                for parameter in topic.filters
            ),
        ],
        "code": {"coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}]},
    }


def _trigger(topic: SubscriptionTopic) -> list[Tree]:
    return [
        {"url": "description", "valueMarkdown": topic.description},
        {"url": "resource", "valueUri": f"http://hl7.org/fhir/StructureDefinition/{topic.resource_type}"},
        *({"url": "supportedInteraction", "valueCode": code} for code in topic.interactions),
        *({"url": "queryCriteria", "extension": criteria} for criteria in [_criteria(topic)] if criteria),
    ]


def _criteria(topic: SubscriptionTopic) -> list[Tree]:
    criteria: list[dict[str, Any]] = []
    if topic.previous:
        criteria.append({"url": "previous", "valueString": topic.previous})
        criteria.append({"url": "resultForCreate", "valueCode": "test-passes"})
    if topic.current:
        criteria.append({"url": "current", "valueString": topic.current})
        criteria.append({"url": "requireBoth", "valueBoolean": True})
    return criteria


def _filter(topic: SubscriptionTopic, parameter: str) -> list[Tree]:
    return [
        {"url": "resource", "valueUri": topic.resource_type},
        {"url": "filterParameter", "valueString": parameter},
    ]
