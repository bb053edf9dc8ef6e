"""Bring a database to the schema that the code expects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import yoyo  # pyright: ignore[reportMissingTypeStubs]  # it has none

RESOURCE_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# Any number does, as long as every kanwa process uses the same one.
ADVISORY_LOCK: Final = 5_264_211


def migrate(url: str, folders: Sequence[Path] = ()) -> list[str]:
    """Apply what is missing: the shared migrations, then those of `folders`; give the names of those applied.

    Runs against one database may overlap: one works, the others wait. The lock is PostgreSQL's own, so a run
    that is killed leaves nothing to clear. Blocks; raises psycopg.Error with the failing statement's message,
    and nothing of that migration file stays.
    """
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        # yoyo names the driver in the address.
        address = urlsplit(url)._replace(scheme="postgresql+psycopg").geturl()
        backend: Any
        with yoyo.get_backend(address) as backend:  # pyright: ignore[reportUnknownMemberType]  # untyped package
            known: Any = yoyo.read_migrations(*map(str, (RESOURCE_MIGRATIONS, *folders)))  # pyright: ignore[reportUnknownMemberType]  # untyped package
            missing: Any = backend.to_apply(known)
            backend.apply_migrations(missing)
            return [str(migration.id) for migration in missing]
