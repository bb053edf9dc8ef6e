"""`kanwa dlq`, `kanwa outbox` and `kanwa projection`: what an operator does about events that got stuck.

Each command works on one service's own database (KANWA_DATABASE_URL), with the service's own account: in compose
`docker compose exec intake-worker kanwa dlq list`.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, TypeVar

import typer
from psycopg import AsyncConnection

from kanwa.environment import required, secret
from kanwa_shared.messaging.amqp import Connection
from kanwa_shared.messaging.attempts import DeadLetter, dead_letters, drop_letter, request_replay
from kanwa_shared.messaging.broker import BrokerError
from kanwa_shared.messaging.lease import relay_is_active
from kanwa_shared.messaging.outbox import failing_rows, outbox_status
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.replay import discard_copies, replay
from kanwa_shared.messaging.topology import Topology

dlq_app: Final = typer.Typer(no_args_is_help=True, help="Dead letters: events that a consumer gave up.")
outbox_app: Final = typer.Typer(no_args_is_help=True, help="Events that wait for the broker.")
projection_app: Final = typer.Typer(no_args_is_help=True, help="The board's read models.")

BROKER_SECONDS: Final = 20.0
Database = AsyncConnection[Any]
T = TypeVar("T")

Consumer = Annotated[str | None, typer.Option(help="Only this consumer's letters.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Letters = Annotated[list[int] | None, typer.Argument(help="Numbers that `kanwa dlq list` shows.")]


@dlq_app.command("list")
def list_letters(consumer: Consumer = None, as_json: AsJson = False) -> None:
    """List dead letters that are not resolved, oldest first; without their resources."""
    letters = _run(lambda database: dead_letters(database, consumer=consumer))
    for letter in letters:
        if as_json:
            typer.echo(json.dumps(_described(letter)))
        else:
            state = "replayed" if letter.replayed_at else "open"
            died = letter.died_at.isoformat(timespec="seconds")
            typer.echo(
                f"{letter.id:>6}  {state:8}  {died}  {letter.consumer}  {letter.attempts} attempts  {letter.reason}"
            )
    if not letters and not as_json:
        typer.echo("no dead letters")


@dlq_app.command()
def show(
    number: Annotated[int, typer.Argument(help="Number of the letter.")],
    data: Annotated[bool, typer.Option("--data", help="With the resource: patient data.")] = False,
) -> None:
    """Show one dead letter with its event's attributes, as JSON; the resource only if asked for."""
    found = _run(lambda database: dead_letters(database, letter_id=number))
    if not found:
        raise SystemExit(f"kanwa: there is no dead letter {number}")
    typer.echo(json.dumps(_described(found[0]) | {"event": _event(found[0], data)}, indent=2))


@dlq_app.command("replay")
def replay_letters(
    numbers: Letters = None,
    everything: Annotated[bool, typer.Option("--all", help="Every letter that is not resolved.")] = False,
    consumer: Consumer = None,
) -> None:
    """Deliver dead letters once more, oldest first, with their attempts counted anew."""
    if bool(numbers) == everything:
        raise SystemExit("kanwa: name the letters to replay, or --all")

    async def go(database: Database) -> int:
        letters = await (_named(database, numbers) if numbers else dead_letters(database, consumer=consumer))
        async with _broker() as broker:
            # Before they are delivered: one that is given up again leaves a new copy.
            await _discard_copies(broker, letters)
            return sum([await _replay(database, broker, letter.id) for letter in letters])

    typer.echo(f"{_run(go)} dead letters are delivered once more")


@dlq_app.command()
def drop(
    numbers: Annotated[list[int], typer.Argument(help="Numbers that `kanwa dlq list` shows.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete dead letters for good: what their events say never takes effect in this consumer."""
    if not yes:
        typer.confirm(f"Delete {len(numbers)} dead letters for good?", abort=True)

    async def go(database: Database) -> int:
        letters = await _named(database, numbers)
        async with _broker() as broker:
            await _discard_copies(broker, letters)
            return sum([await drop_letter(database, letter.id) for letter in letters])

    typer.echo(f"{_run(go)} dead letters deleted")


@outbox_app.command()
def status(as_json: AsJson = False) -> None:
    """Show what waits in the outbox, whether a relay works on it, and what the broker refused."""

    async def go(database: Database) -> dict[str, Any]:
        told = asdict(await outbox_status(database))
        told["relay_active"] = await relay_is_active(database)
        told["failing_rows"] = [asdict(row) for row in await failing_rows(database)]
        return told

    told = _run(go)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"waiting           {told['depth']}")
    typer.echo(f"oldest            {told['oldest_age_seconds']:.0f} s")
    typer.echo(f"last sequence     {told['last_sequence']}")
    typer.echo(f"relay             {'active' if told['relay_active'] else 'NONE IS ACTIVE'}")
    typer.echo(f"refused so far    {told['failing']}")
    for row in told["failing_rows"]:
        what = f"hand-over to {row['target']}" if row["target"] else f"sequence {row['sequence']}"
        typer.echo(
            f"  {row['resource_type']}, {what}, row {row['id']}: {row['attempts']} attempts, {row['last_error']}"
        )


@projection_app.command("rebuild")
def rebuild_projection() -> None:
    """Drop the board's read models and fold them again from the event log; new events wait meanwhile."""
    import kanwa_mdt.service as mdt
    from kanwa_shared.store.pool import open_pool

    async def go() -> int:
        async with open_pool(required("KANWA_DATABASE_URL"), max_size=2) as pool:
            return await mdt.rebuild(pool)

    typer.echo(f"read models rebuilt from {asyncio.run(go())} events")


@dataclass(frozen=True, slots=True)
class _Broker:
    """Where letters are delivered again and their copies are taken away."""

    connection: Connection
    publisher: Publisher
    topology: Topology


@asynccontextmanager
async def _broker() -> AsyncGenerator[_Broker | None]:
    """The broker of KANWA_AMQP_URL; None without one: a running embedded kanwa finds marked letters by itself."""
    from kanwa.services import topology

    url = secret("KANWA_AMQP_URL")
    if url is None:
        yield None
        return
    try:
        connection = await Connection.open(url, name="kanwa dlq")
        try:
            async with Publisher(url, name="kanwa dlq") as publisher:
                async with asyncio.timeout(BROKER_SECONDS):
                    await publisher.wait_ready()
                yield _Broker(connection, publisher, topology(os.environ.get("KANWA_AMQP_PREFIX", "kanwa")))
        finally:
            await connection.close()
    except (BrokerError, TimeoutError) as error:
        raise SystemExit(
            f"kanwa: the broker did not take part: {error!r}; nothing is lost, try again"
        ) from error


async def _replay(database: Database, broker: _Broker | None, number: int) -> bool:
    if broker is None:
        return await request_replay(database, number) is not None
    return await replay(database, broker.publisher, broker.topology, number) is not None


async def _named(database: Database, numbers: Sequence[int]) -> list[DeadLetter]:
    """The letters with these numbers, each once; a number that no letter has is left out."""
    return [
        letter
        for number in dict.fromkeys(numbers)
        for letter in await dead_letters(database, letter_id=number)
    ]


async def _discard_copies(broker: _Broker | None, letters: Sequence[DeadLetter]) -> None:
    if broker is not None and letters:
        await discard_copies(await broker.connection.channel(), broker.topology, letters)


def _described(letter: DeadLetter) -> dict[str, Any]:
    """The letter without its event; times in ISO 8601."""
    told = asdict(letter)
    del told["envelope"]
    for name in ("died_at", "replayed_at", "resolved_at"):
        told[name] = told[name].isoformat() if told[name] else None
    return told


def _event(letter: DeadLetter, with_data: bool) -> object:
    try:
        event = json.loads(letter.envelope)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        return letter.envelope if with_data else "cannot be read; --data shows its bytes"
    return {name: value for name, value in event.items() if with_data or name != "data"}  # pyright: ignore[reportUnknownVariableType]  # any JSON


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    async def go() -> T:
        connection = await AsyncConnection.connect(required("KANWA_DATABASE_URL"), autocommit=True)
        async with connection:
            return await work(connection)

    return asyncio.run(go())
