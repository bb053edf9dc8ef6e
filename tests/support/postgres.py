"""The PostgreSQL that tests use, and databases made from a migrated template."""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from kanwa.embedded import EmbeddedServerError, PostgresServer
from kanwa_shared.store.migrate import RESOURCE_MIGRATIONS, migrate
from tests.support.installation import stop_the_run
from tests.support.ports import unused_port

STANDARD_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
OLDEST_VERSION = 150_000  # as PostgreSQL numbers it: 15.0
DROPS_AT_ONCE = 2
MEMORY_ROOM_BYTES = 4 << 30
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "400",
}


@contextmanager
def postgres_server() -> Iterator[str]:
    """Give the URL of a PostgreSQL whose account may create databases.

    KANWA_TEST_DATABASE_URL, else one started from the newest installed programs (the wheel of the embedded run is
    always among those), else the one on the standard port. The tests' own server need not survive a power cut,
    which makes creating and dropping a database per test several times faster.
    """
    named = os.environ.get("KANWA_TEST_DATABASE_URL")
    if named:
        trouble = _trouble(named)
        if trouble is not None:
            stop_the_run(
                f"KANWA_TEST_DATABASE_URL can't be used ({trouble}): start that PostgreSQL or unset the variable"
            )
        yield named
        return
    with TemporaryDirectory(prefix="kanwa-test-postgres-", dir=_memory()) as folder:
        os.chmod(folder, 0o711)  # noqa: S103 - from root, PostgreSQL's own account must be able to enter
        server = PostgresServer(
            Path(folder), binaries=installed_binaries(), port=unused_port(), settings=FAST_SETTINGS
        )
        try:
            server.start()
        except EmbeddedServerError as failed:
            if _trouble(STANDARD_URL) is None:
                yield STANDARD_URL
                return
            stop_the_run(
                f"PostgreSQL can't be started ({failed}): start one and name it in KANWA_TEST_DATABASE_URL"
            )
        try:
            yield server.url()
        finally:
            server.stop()


def _memory() -> Path | None:
    """A file system in memory with room to spare: a database has some 400 files, and each test makes its own."""
    memory = Path("/dev/shm")  # noqa: S108  # the folder below it gets a name that nobody can foresee
    usable = memory.is_dir() and os.access(memory, os.W_OK) and disk_usage(memory).free > MEMORY_ROOM_BYTES
    return memory if usable else None


def _trouble(url: str) -> str | None:
    """Say why the server at `url` won't do, None if it will."""
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            if connection.info.server_version < OLDEST_VERSION:
                return "it is older than version 15"
            return None if row and row[0] else "its account may not create databases"
    except psycopg.Error as failed:
        return str(failed).strip().splitlines()[0] if str(failed).strip() else "no answer"


def installed_binaries() -> Path | None:
    """Give the folder of the newest PostgreSQL installed on the machine; None means the wheel's."""
    found = [
        (int(folder.parent.name), folder)
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if folder.parent.name.isdigit() and int(folder.parent.name) >= OLDEST_VERSION // 10_000
    ]
    return max(found)[1] if found else None


class Databases:
    """Makes a database per test from a template per set of migrations, and drops them."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._templates: dict[str, str] = {}
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(psycopg.connect(server_url, autocommit=True))
        # DROP DATABASE waits for a checkpoint, several times as long as a test takes: the next test does not wait.
        self._dropping = ThreadPoolExecutor(DROPS_AT_ONCE, thread_name_prefix="drop-database")
        self._drops: list[Future[None]] = []

    def create(self, *migration_folders: Path) -> str:
        """Give the URL of a fresh database with the shared migrations and those of the folders applied."""
        template = self._template(migration_folders)
        name = _name("kanwa_test")
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return self._url(name)

    def create_empty(self) -> str:
        """Give the URL of a fresh database without any table."""
        name = _name("kanwa_test")
        self._execute("CREATE DATABASE {}", name)
        return self._url(name)

    def drop(self, url: str) -> None:
        """Begin to drop a database, whoever is still connected to it."""
        self._drops.append(self._dropping.submit(self._drop, urlsplit(url).path.lstrip("/")))

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))

    def close(self) -> None:
        """Wait for the drops, raise the first one's failure if there is one, and drop the templates."""
        self._dropping.shutdown()
        for drop in self._drops:
            drop.result()
        for template in self._templates.values():
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", template)
        self._stack.close()

    def _template(self, folders: Sequence[Path]) -> str:
        files = [file for folder in (RESOURCE_MIGRATIONS, *folders) for file in sorted(folder.glob("*.sql"))]
        key = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        if key not in self._templates:
            name = _name("kanwa_template")
            self._execute("CREATE DATABASE {}", name)
            self._templates[key] = name
            migrate(self._url(name), folders)
        return self._templates[key]

    def _url(self, name: str) -> str:
        return urlsplit(self._server_url)._replace(path=f"/{name}").geturl()

    def _execute(self, statement: str, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _name(prefix: str) -> str:
    worker = re.sub(r"\W", "", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return f"{prefix}_{worker}{uuid.uuid4().hex[:16]}"
