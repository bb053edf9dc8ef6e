"""Some hundreds of queries on PostgreSQL against an evaluator that looks at every resource."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from kanwa_shared.errors import NotSupported
from kanwa_shared.fhir.search import execute, parse_search
from kanwa_shared.fhir.search.text import normalised
from tests.support import indexed, search_cases, search_queries
from tests.support.search_oracle import Oracle

Connection = AsyncConnection[TupleRow]
BASE = "https://kanwa.test/fhir"


pytestmark = pytest.mark.usefixtures("few")


@pytest.mark.parametrize("seed", [1, 2])
async def test_searches_find_what_the_specification_says(connection: Connection, seed: int) -> None:
    trees = search_cases.resources(seed)
    await indexed.write(connection, trees)
    await connection.execute("ANALYZE")  # as autovacuum does within a minute; chains need statistics
    oracle = Oracle(trees)
    wrong: list[str] = []
    found = 0
    for resource_type, query in search_queries.queries(seed, 400):
        page = await execute(
            connection, parse_search(resource_type, [*query, ("_count", "1000")]), base_url=BASE
        )
        ids = [match.id for match in page.matches]
        expected = oracle.search(resource_type, query)
        found += bool(expected)
        if ids != expected or page.total != len(expected):
            extra, lost = set(ids) - set(expected), set(expected) - set(ids)
            wrong.append(
                f"{resource_type}?{query}: also {sorted(extra)}, lost {sorted(lost)}, total {page.total}"
            )
    assert not wrong, "\n".join(wrong)
    assert found > 200, "most queries must find something, or the comparison says little"


@pytest.mark.parametrize(
    "sort",
    [
        "authored",
        "-authored",
        "occurrence",
        "-occurrence,-_id",
        "-authored,priority",
        "-status,_id",
        "subject,-_id",
        "priority,code",
    ],
)
async def test_pages_are_the_cut_up_list_in_every_order(connection: Connection, sort: str) -> None:
    trees = search_cases.resources(5)
    await indexed.write(connection, trees)
    whole = await execute(
        connection, parse_search("ServiceRequest", [("_sort", sort), ("_count", "1000")]), base_url=BASE
    )
    pages: list[str] = []
    query = f"_sort={sort}&_count=7"
    while query:
        page = await execute(connection, parse_search("ServiceRequest", parse_qsl(query)), base_url=BASE)
        assert page.total == whole.total
        pages += [match.id for match in page.matches]
        query = page.next_query
    assert pages == [match.id for match in whole.matches]
    assert len(pages) == len(set(pages)) == 48


@pytest.mark.parametrize("sort", ["family", "-family", "birthdate", "-birthdate"])
@pytest.mark.parametrize(
    "asked", ["", "&birthdate=lt1960&gender=male", "&birthdate=ge1950-07&birthdate=le1950-07-02"]
)
async def test_names_and_ranges_are_paged_in_order(connection: Connection, sort: str, asked: str) -> None:
    trees = [tree for tree in search_cases.resources(6, patients=60) if tree["resourceType"] == "Patient"]
    await indexed.write(connection, trees)
    expected = Oracle(trees).search("Patient", parse_qsl(asked))
    met: list[dict[str, Any]] = []
    query: str | None = f"_sort={sort}&_count=4{asked}"
    while query:
        page = await execute(connection, parse_search("Patient", parse_qsl(query)), base_url=BASE)
        assert page.total == len(expected)
        met += [match.tree for match in page.matches]
        query = page.next_query
    assert sorted(tree["id"] for tree in met) == expected
    chosen = max if sort.startswith("-") else min
    keys = [_sort_value(tree, sort.lstrip("-"), chosen) for tree in met]
    held = [key for key in keys if key is not None]
    assert held == sorted(held, reverse=sort.startswith("-"))
    assert keys[: len(held)] == held, "those without a value come last"


def _sort_value(tree: dict[str, Any], code: str, chosen: Callable[[list[str]], str]) -> str | None:
    if code == "family":
        return chosen([normalised(name["family"]) for name in tree["name"]])
    return tree.get("birthDate")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("code:text=drainage", ["a"]),
        ("code:text=DRAINÁGE of", ["a"]),
        ("code:text=ascites", []),
        ("code:text=transjugular", ["b"]),
        ("code:text=nothing,paracentesis", ["a"]),
        ("code:text=100%25 {} $", ["c"]),
        ("code:text=x%09y", ["d"]),
        ("code:text=drainage&status=active", []),
        ("identifier:text=placer", ["b"]),
        ("requester.identifier:text=x", []),
        ("status:text=draft", None),
    ],
)
async def test_codes_are_found_by_the_text_beside_them(
    connection: Connection, query: str, found: list[str] | None
) -> None:
    def request(id: str, code: dict[str, Any], **members: Any) -> dict[str, Any]:
        return {"resourceType": "ServiceRequest", "id": id, "status": "draft", "code": code, **members}

    await indexed.write(
        connection,
        [
            request(
                "a", {"text": "Drainage of ascites", "coding": [{"code": "p", "display": "Paracentesis"}]}
            ),
            request(
                "b",
                {"coding": [{"code": "x"}, {"code": "tips", "display": "Transjugular shunt"}]},
                identifier=[{"value": "1", "type": {"text": "Placer number"}}],
            ),
            request("c", {"text": "100% {} $x"}),
            request("d", {"text": " X  y"}),
        ],
    )
    if found is None:
        with pytest.raises(NotSupported, match="no text"):
            parse_search("ServiceRequest", parse_qsl(query))
        return
    page = await execute(connection, parse_search("ServiceRequest", parse_qsl(query)), base_url=BASE)
    assert [match.id for match in page.matches] == found
