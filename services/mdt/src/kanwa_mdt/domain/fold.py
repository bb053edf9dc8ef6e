"""The fold: events in, facts out; and the cases that facts make.

Taking the newest version of each resource is commutative, associative and idempotent, and a case is a function
of the facts alone. So events may come in any order and any number of times: the board ends the same.
"""

from collections.abc import Iterable, Mapping

from kanwa_mdt.domain.case import Case
from kanwa_mdt.domain.derivation import case_of
from kanwa_mdt.domain.fact import Fact, read_event
from kanwa_shared.messaging.envelope import Event

Facts = Mapping[str, Fact]


def fold(facts: Facts, event: Event) -> Facts:
    """The facts after one more event; `facts` itself is not changed."""
    fact = read_event(event).fact
    return facts if fact is None else with_fact(facts, fact)


def with_fact(facts: Facts, fact: Fact) -> Facts:
    """The facts with `fact`, unless the same or a newer version is among them."""
    known = facts.get(fact.reference)
    return facts if known is not None and known.version >= fact.version else {**facts, fact.reference: fact}


def cases(facts: Facts) -> dict[str, Case]:
    """Every case, by the id of its ServiceRequest."""
    return {case.service_request: case for case in cases_of(facts, facts) if case is not None}


def cases_of(requests: Iterable[str], facts: Facts) -> list[Case | None]:
    """The case of each ServiceRequest named in `requests`; None where there is none to show."""
    known = (
        facts[reference]
        for reference in requests
        if reference.startswith("ServiceRequest/") and reference in facts
    )
    return [case_of(fact, facts.values()) for fact in known]
