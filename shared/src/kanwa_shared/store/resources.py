"""Reading resources, and committing what a use case changed."""

from typing import Any, Final, LiteralString

from kanwa_shared.errors import Gone, NotFound
from kanwa_shared.fhir.search import Search, SearchPage, execute, parse_search
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import commit, encode
from kanwa_shared.store.group_commit import GroupCommit, may_go_together
from kanwa_shared.store.pool import Pool
from kanwa_shared.store.stored import StoredResource

VERSION_COLUMNS: Final[LiteralString] = (
    "v.resource_type, v.id, v.version, v.last_updated, v.interaction, v.body"
)

_READ: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM resource r JOIN resource_version v USING (resource_type, id, version)
    WHERE r.resource_type = %s AND r.id = %s"""

_READ_MANY: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM unnest(%s::text[], %s::text[]) AS k (resource_type, id)
    JOIN resource r USING (resource_type, id) JOIN resource_version v USING (resource_type, id, version)"""

_READ_VERSION: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM resource r JOIN resource_version v USING (resource_type, id)
    WHERE v.resource_type = %s AND v.id = %s AND v.version = %s AND NOT r.replica"""

# Tokens of profiles, tags and labels; one with a system stands there also without it, and as "any of the system".
_USED_META: Final[LiteralString] = """
    SELECT DISTINCT substr(token, length(resource_type) + 2) FROM resource, unnest(tokens) AS token
    WHERE (%s::text IS NULL OR resource_type = %s) AND NOT deleted AND NOT replica
      AND (token ^@ (resource_type || '._profile=') OR token ^@ (resource_type || '._tag|')
           OR token ^@ (resource_type || '._security|'))
    ORDER BY 1"""

FIND_LIMIT: Final = 500  # a rule that meets more matches than this is asking the wrong question


class ResourceStore:
    """The resources of one service: its own, and replicas of what it consumed.

    `base_url` is the public FHIR base: a reference below it is one to a resource here.
    """

    def __init__(self, pool: Pool, *, base_url: str = ""):
        self._pool = pool
        self._base_url = base_url
        self._group = GroupCommit(pool)

    @property
    def pool(self) -> Pool:
        """The connections below, for a service's own tables."""
        return self._pool

    async def get(self, resource_type: str, id: str) -> StoredResource | None:
        """The current version, a deletion included; None if the id was never used."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_READ, (resource_type, id))
            row = await cursor.fetchone()
        return stored(row) if row else None

    async def get_many(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], StoredResource]:
        """Current versions of several resources by (type, id), in one round trip; unknown keys are absent."""
        if not keys:
            return {}
        types, ids = [key[0] for key in keys], [key[1] for key in keys]
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_READ_MANY, (types, ids))
            rows = await cursor.fetchall()
        return {(row[0], row[1]): stored(row) for row in rows}

    async def read(self, resource_type: str, id: str) -> StoredResource:
        """The current version. Raises NotFound, or Gone if the resource was deleted."""
        found = await self.get(resource_type, id)
        if found is None:
            raise NotFound(f"there is no {resource_type} with id {id}")
        if found.deleted:
            raise Gone(f"{resource_type}/{id} was deleted; its history is at {resource_type}/{id}/_history")
        return found

    async def read_version(self, resource_type: str, id: str, version: int) -> StoredResource:
        """One version. Raises NotFound, or Gone if that version is the deletion."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_READ_VERSION, (resource_type, id, version))
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(f"{resource_type}/{id} has no version {version}")
        found = stored(row)
        if found.deleted:
            raise Gone(f"version {version} of {resource_type}/{id} is its deletion")
        return found

    async def search(self, search: Search, *, base_url: str) -> SearchPage:
        """One page of a parsed search."""
        async with self._pool.connection() as connection:
            return await execute(connection, search, base_url=base_url)

    async def find(self, resource_type: str, **parameters: str) -> list[StoredResource]:
        """Every current resource that matches search parameters, oldest first; `based_on` stands for `based-on`."""
        query = [(name.replace("_", "-"), value) for name, value in parameters.items()]
        search = parse_search(
            resource_type,
            [*query, ("_sort", "_lastUpdated"), ("_count", str(FIND_LIMIT)), ("_total", "none")],
        )
        return (await self.search(search, base_url="")).matches

    async def used_meta(self, resource_type: str | None) -> dict[str, Any]:
        """Profiles, tags and labels of current resources that are the service's own, as a Meta.

        None for every type. Looks at each resource of the type.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_USED_META, (resource_type, resource_type))
            forms = [row[0] for row in await cursor.fetchall()]
        found: dict[str, list[Any]] = {}
        for form in forms:
            if form.startswith("_profile="):
                found.setdefault("profile", []).append(form.removeprefix("_profile="))
                continue
            name, system, code = form.split("|", 2)
            if code:
                coding = {"system": system, "code": code} if system else {"code": code}
                found.setdefault(name.removeprefix("_"), []).append(coding)
        return found

    async def query(self, sql: LiteralString, parameters: dict[str, Any]) -> list[StoredResource]:
        """Resources that a service's own SQL selects: type, id, version, last_updated, interaction, body."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(sql, parameters)
            rows = await cursor.fetchall()
        return [stored(row) for row in rows]

    async def commit(self, changes: ChangeSet) -> None:
        """Write a change set at once. Raises what `kanwa_shared.store.commit.commit` raises."""
        if changes.empty:
            return
        if may_go_together(changes):
            await self._group.commit(encode(changes, base_url=self._base_url))
            return
        async with self._pool.connection() as connection:
            await commit(connection, changes, base_url=self._base_url)


def stored(row: tuple[Any, ...]) -> StoredResource:
    """A row of `VERSION_COLUMNS` as a resource."""
    body = row[5]
    return StoredResource(row[0], row[1], row[2], row[3], row[4], body.encode() if body is not None else None)
