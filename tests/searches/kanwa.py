"""kanwa's search over a PostgreSQL of its own."""

import asyncio
from collections.abc import Sequence

from psycopg import AsyncConnection

from kanwa_shared.fhir.search import execute, parse_search
from tests.searches.questions import Question, Tree
from tests.support import indexed
from tests.support.postgres import Databases, postgres_server

_BASE = "https://kanwa.test/fhir"


def ask_kanwa(resources: Sequence[Tree], questions: Sequence[Question]) -> list[list[str]]:
    """The ids that each search finds, sorted."""
    with postgres_server() as server_url:
        databases = Databases(server_url)
        url = databases.create()
        try:
            return asyncio.run(_answers(url, resources, questions))
        finally:
            databases.drop(url)
            databases.close()


async def _answers(url: str, resources: Sequence[Tree], questions: Sequence[Question]) -> list[list[str]]:
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await indexed.write(connection, resources)
        await connection.execute("ANALYZE")
        return [await _answer(connection, question) for question in questions]


async def _answer(connection: AsyncConnection, question: Question) -> list[str]:
    search = parse_search(question.resource_type, [*question.query, ("_count", "1000")])
    page = await execute(connection, search, base_url=_BASE)
    assert page.next_query is None
    return sorted(match.id for match in page.matches)
