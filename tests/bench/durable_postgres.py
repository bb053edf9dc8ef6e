"""A PostgreSQL that keeps what it confirmed: the tests' own gives that up to be fast, and figures would be too good."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from kanwa.embedded import PostgresServer
from tests.support.ports import unused_port
from tests.support.postgres import installed_binaries

#: Eight processes with their pools.
SETTINGS = {"max_connections": "400"}


@contextmanager
def durable_postgres() -> Iterator[str]:
    """Give the URL of KANWA_TEST_DATABASE_URL, else of a server of its own with PostgreSQL's defaults."""
    named = os.environ.get("KANWA_TEST_DATABASE_URL")
    if named:
        yield named
        return
    with TemporaryDirectory(prefix="kanwa-bench-postgres-") as folder:
        os.chmod(folder, 0o711)  # noqa: S103  # from root, PostgreSQL's own account must be able to enter
        server = PostgresServer(
            Path(folder), binaries=installed_binaries(), port=unused_port(), settings=SETTINGS
        )
        server.start()
        try:
            yield server.url()
        finally:
            server.stop()


def durability(url: str) -> str:
    """What the server says about it."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT concat('PostgreSQL ', current_setting('server_version'), ', fsync ', current_setting('fsync'), "
            "', synchronous_commit ', current_setting('synchronous_commit'))"
        ).fetchone()
        assert row is not None
        return str(row[0])
