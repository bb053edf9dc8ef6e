"""PostgreSQL and Redis for the run that needs no server: from PyPI, on this machine, for one user."""

from kanwa.embedded.errors import EmbeddedServerError, FolderInUseError
from kanwa.embedded.postgres import PostgresServer
from kanwa.embedded.redis import EmbeddedRedis
from kanwa.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedRedis", "EmbeddedServerError", "EmbeddedServers", "FolderInUseError", "PostgresServer"]
