"""The embedded PostgreSQL and Redis: their own folder, one run at a time, nothing lost when killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest

from kanwa.embedded import EmbeddedRedis, EmbeddedServers, FolderInUseError, PostgresServer
from tests.support.processes import running
from tests.support.waiting import until


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: that one is closed to the account that runs PostgreSQL when root runs the tests.
    with TemporaryDirectory(prefix="kanwa-test-embedded-") as name:
        os.chmod(name, 0o711)  # noqa: S103  # so that account can pass
        yield Path(name) / ".kanwa"


def rows(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM kept ORDER BY word")]


async def test_each_service_has_a_database_of_its_own(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake", "mdt"]) as servers:
        assert servers.database_urls.keys() == {"intake", "mdt"}
        for service, url in servers.database_urls.items():
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT current_database(), current_user").fetchone()
            assert row == (f"kanwa_{service}", f"kanwa_{service}")
        other = servers.postgres.url("kanwa_mdt", role="kanwa_intake")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(other)


async def test_what_was_committed_is_there_in_the_next_run(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake"]) as servers:
        with psycopg.connect(servers.database_urls["intake"]) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'first' AS word")
    async with EmbeddedServers(folder, ["intake"]) as servers:
        assert rows(servers.database_urls["intake"]) == ["first"]


async def test_leaving_stops_the_server(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake"]) as servers:
        pid = servers.postgres.pid
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert servers.postgres.pid is None
    assert not psutil.pid_exists(pid)
    assert not (folder / "postgres" / "postmaster.pid").exists()


async def test_a_failure_inside_stops_the_server_too(folder: Path) -> None:
    servers = EmbeddedServers(folder, ["intake"])
    with pytest.raises(ZeroDivisionError):
        async with servers:
            raise ZeroDivisionError
    assert servers.postgres.pid is None


async def test_a_second_run_on_the_folder_is_told_who_holds_it(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake"]) as servers:
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
            await EmbeddedServers(folder, ["intake"]).__aenter__()
        assert servers.postgres.pid is not None
    async with EmbeddedServers(folder, ["intake"]):
        pass


KILLED_RUN = """
import asyncio, sys
from pathlib import Path
import psycopg
from kanwa.embedded import EmbeddedServers

async def main():
    async with EmbeddedServers(Path(sys.argv[1]), ["intake"]) as servers:
        with psycopg.connect(servers.database_urls["intake"], autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'committed' AS word")
        print(servers.postgres.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def killed_run(folder: Path, *, with_its_server: bool) -> int:
    """Run until something is committed, then kill; give the server's process id."""
    process = subprocess.Popen([sys.executable, "-c", KILLED_RUN, folder], stdout=subprocess.PIPE, text=True)
    with running(process):
        assert process.stdout is not None
        server = int(process.stdout.readline())
        process.stdout.close()
        process.kill()
        if with_its_server:
            os.kill(server, signal.SIGKILL)
    return server


async def test_after_a_killed_run_the_next_one_takes_the_left_over_server_away(folder: Path) -> None:
    left_over = killed_run(folder, with_its_server=False)
    assert psutil.pid_exists(left_over)
    async with EmbeddedServers(folder, ["intake"]) as servers:
        assert servers.postgres.pid != left_over
        assert rows(servers.database_urls["intake"]) == ["committed"]
        await until(lambda: not psutil.pid_exists(left_over), what="the end of the left-over server")


async def test_after_the_server_was_killed_too_nothing_committed_is_lost(folder: Path) -> None:
    killed_run(folder, with_its_server=True)
    assert (folder / "postgres" / "postmaster.pid").exists()
    async with EmbeddedServers(folder, ["intake"]) as servers:
        assert rows(servers.database_urls["intake"]) == ["committed"]


async def test_a_pid_file_that_names_another_program_does_not_stop_the_start(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake"]):
        pass
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}/postgres\n")
    async with EmbeddedServers(folder, ["intake"]) as servers:
        assert servers.postgres.pid is not None


async def test_a_folder_too_deep_for_a_socket_works_all_the_same(folder: Path) -> None:
    deep = folder / ("d" * 120)
    async with EmbeddedServers(deep, ["intake"]) as servers:
        assert rows_can_be_read(servers.database_urls["intake"])


def rows_can_be_read(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


async def test_nobody_else_may_enter_the_data_or_the_socket(folder: Path) -> None:
    async with EmbeddedServers(folder, ["intake"]):
        for name in ("postgres", "run"):
            assert (folder / name).stat().st_mode & 0o077 == 0


async def test_clients_of_one_embedded_redis_see_the_same_keys_and_channels() -> None:
    embedded = EmbeddedRedis()
    one, other = embedded.client(decode_responses=True), embedded.client(decode_responses=True)
    await one.set("referral", "1", ex=60)
    assert await other.get("referral") == "1"
    async with other.pubsub() as subscription:
        await subscription.subscribe("board")
        await one.publish("board", "changed")

        async def received() -> bool:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=0.1)
            return message is not None and message["data"] == "changed"

        await until(received, what="the message")
    await one.aclose()
    await other.aclose()


async def test_two_embedded_redis_have_nothing_in_common() -> None:
    one, other = EmbeddedRedis().client(), EmbeddedRedis().client()
    await one.set("referral", "1")
    assert await other.get("referral") is None
    await one.aclose()
    await other.aclose()


def test_a_server_with_a_port_answers_on_loopback(folder: Path, free_port: Callable[[], int]) -> None:
    server = PostgresServer(folder, port=free_port())
    server.start()
    try:
        assert "@127.0.0.1:" in server.url()
        assert rows_can_be_read(server.url())
    finally:
        server.stop()
