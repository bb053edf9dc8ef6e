"""Whether one resource satisfies a condition, decided without a database: for events, which are not stored rows."""

from kanwa_shared.errors import NotSupported
from kanwa_shared.fhir.search.conditions import AllOf, AnyOf, Condition, HasId, HasTokens, Not
from kanwa_shared.fhir.search.indexing import IndexRows
from kanwa_shared.fhir.search.references import local_tokens


def check_decidable(condition: Condition) -> None:
    """Raise NotSupported unless `satisfies` can decide the condition: ids, tokens, uris and references."""
    match condition:
        case HasTokens() | HasId():
            return
        case Not(inner):
            check_decidable(inner)
        case AllOf(several) | AnyOf(several):
            for one in several:
                check_decidable(one)
        case _:
            raise NotSupported("only codes, identifiers, uris, ids and references can be compared here")


def satisfies(condition: Condition, rows: IndexRows, id: str, *, base_url: str) -> bool:
    """Whether the resource with these index rows and this id satisfies a condition that `check_decidable` passed.

    `base_url` is the one that the rows were made with.
    """
    match condition:
        case HasTokens():
            return not set(local_tokens(condition, base_url)).isdisjoint(rows.tokens)
        case HasId(ids):
            return id in ids
        case Not(inner):
            return not satisfies(inner, rows, id, base_url=base_url)
        case AllOf(several):
            return all(satisfies(one, rows, id, base_url=base_url) for one in several)
        case AnyOf(several):
            return any(satisfies(one, rows, id, base_url=base_url) for one in several)
        case _:
            raise NotSupported("only codes, identifiers, uris, ids and references can be compared here")
