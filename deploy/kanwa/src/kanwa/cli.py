"""The `kanwa` command line."""

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import httpx
import typer

from kanwa.environment import required
from kanwa.event_commands import dlq_app, outbox_app, projection_app

app: Final = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a rich traceback shows local variables, and with them patients
    help="Palliative interventional radiology in a hospital's multidisciplinary cancer care.",
)
topology_app: Final = typer.Typer(no_args_is_help=True, help="Exchanges and queues of the broker.")
keys_app: Final = typer.Typer(no_args_is_help=True, help="Key pairs for trying authentication.")
app.add_typer(topology_app, name="topology")
app.add_typer(keys_app, name="keys")
app.add_typer(dlq_app, name="dlq")
app.add_typer(outbox_app, name="outbox")
app.add_typer(projection_app, name="projection")

FOLDER: Final = Path(".kanwa")
Folder = Annotated[Path, typer.Option(help="Where the embedded run keeps its data.")]
Port = Annotated[int, typer.Option(envvar="KANWA_PORT", help="Port on 127.0.0.1.")]
Zone = Annotated[str, typer.Option(envvar="KANWA_SITE_TIME_ZONE", help="IANA time zone of the seeded sites.")]


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    """Palliative interventional radiology in a hospital's multidisciplinary cancer care."""
    if version:
        typer.echo(f"kanwa {distribution_version('kanwa')}")
        raise typer.Exit


@app.command()
def run(folder: Folder = FOLDER, port: Port = 8080, time_zone: Zone = "UTC") -> None:
    """Start everything embedded and keep running: no server needed, this machine only."""
    _embedded(folder, port, time_zone, with_cases=False)


@app.command()
def demo(folder: Folder = FOLDER, port: Port = 8080, time_zone: Zone = "UTC") -> None:
    """The same, with example cases of all four procedure groups going through the loop."""
    _embedded(folder, port, time_zone, with_cases=True)


def _embedded(folder: Path, port: int, time_zone: str, *, with_cases: bool) -> None:
    from kanwa.demo.show import show_cases
    from kanwa.embedded import EmbeddedServerError
    from kanwa.embedded.run import EmbeddedRun, run_embedded
    from kanwa.seed.plant import plant

    async def prepare(client: httpx.AsyncClient) -> int:
        zone = ZoneInfo(time_zone)
        return await plant(client, datetime.now(zone).date(), zone)

    async def work(running: EmbeddedRun) -> None:
        typer.echo(_welcome(running.address, folder))
        if with_cases:
            await show_cases(running.fhir, typer.echo)

    _log_to_console()
    try:
        asyncio.run(run_embedded(folder, port, prepare, work))
    except EmbeddedServerError as error:
        raise SystemExit(f"kanwa: {error}") from error


def _welcome(address: str, folder: Path) -> str:
    return f"""
kanwa is running; Ctrl-C stops it, its data stay in {folder} (`make clean` removes ./.kanwa).

  board    {address}/
  FHIR     {address}/fhir/metadata
  events   {address}/events

Refer a patient:

  curl -s {address}/fhir/ServiceRequest -H 'Content-Type: application/fhir+json' -d '{{
    "resourceType": "ServiceRequest", "status": "active", "intent": "order", "priority": "urgent",
    "code": {{"coding": [{{"system": "https://kanwa.example/fhir/CodeSystem/ir-procedure", "code": "paracentesis"}}]}},
    "subject": {{"display": "A patient"}}}}'
"""


@app.command()
def serve(service: str, role: Annotated[str, typer.Argument(help="api or worker")]) -> None:
    """Run one service's API or its worker, with the settings of the environment."""
    from kanwa.serving import serve_api, serve_worker

    _refusing_bad_settings(lambda: serve_api(service) if role == "api" else serve_worker(service))


@app.command()
def migrate(service: str) -> None:
    """Bring the database of a service (KANWA_DATABASE_URL) to the schema that the code expects."""
    from kanwa.services import migration_folders
    from kanwa_shared.store.migrate import migrate as apply

    applied = apply(required("KANWA_DATABASE_URL"), migration_folders(service))
    typer.echo(f"{service}: " + (", ".join(applied) if applied else "nothing to apply"))


@app.command()
def seed(
    base_url: Annotated[str, typer.Option(envvar="KANWA_BASE_URL")] = "http://127.0.0.1:8080/fhir",
    token: Annotated[str | None, typer.Option(envvar="KANWA_TOKEN", help="Bearer token.")] = None,
    time_zone: Zone = "UTC",
) -> None:
    """Write the example hospital group and four weeks of Slots to a running kanwa."""
    from kanwa.seed.plant import plant

    async def go() -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/", headers=headers, timeout=30
        ) as client:
            zone = ZoneInfo(time_zone)
            return await plant(client, datetime.now(zone).date(), zone)

    typer.echo(f"{asyncio.run(go())} resources written")


@topology_app.command()
def declare() -> None:
    """Create the exchanges and queues of every service; needs an account that may configure."""
    from kanwa.serving import declare_topology

    asyncio.run(declare_topology(required("KANWA_AMQP_URL"), os.environ.get("KANWA_AMQP_PREFIX", "kanwa")))


@keys_app.command()
def generate(
    folder: Annotated[Path, typer.Option(help="Where private keys and jwks.json go.")] = Path(
        "/var/lib/kanwa/keys"
    ),
) -> None:
    """Write an ES384 and an RS384 key pair and their jwks.json, unless they are there."""
    from kanwa_shared.security.keys import generate_keys

    typer.echo(f"jwks: {generate_keys(folder)}")


@app.command()
def token(
    folder: Annotated[Path, typer.Option(help="Where `kanwa keys generate` wrote.")] = Path(
        "/var/lib/kanwa/keys"
    ),
    client: Annotated[str, typer.Option(help="Client id that the token names.")] = "trial",
    scope: Annotated[str, typer.Option(help="Scopes.")] = "system/*.cruds",
    minutes: Annotated[int, typer.Option(min=1, max=5, help="Life of the token.")] = 5,
) -> None:
    """Print a bearer token signed with the generated key."""
    from kanwa_shared.security.keys import mint_token

    issuer = os.environ.get("KANWA_AUTH_ISSUER", "https://kanwa.example/auth")
    audience = os.environ.get("KANWA_AUTH_AUDIENCE", "https://kanwa.example/fhir")
    now = datetime.now(UTC)
    typer.echo(
        mint_token(
            folder, client, scope, issuer=issuer, audience=audience, now=now, life=timedelta(minutes=minutes)
        )
    )


def _refusing_bad_settings(work: Callable[[], object]) -> None:
    from pydantic import ValidationError

    try:
        work()
    except ValidationError as error:
        for fault in error.errors():
            name = "KANWA_" + "_".join(map(str, fault["loc"])).upper() if fault["loc"] else "settings"
            typer.echo(f"kanwa: {name}: {fault['msg']}", err=True)
        sys.exit(2)


def _log_to_console() -> None:
    from kanwa_shared.logging import configure_logging

    configure_logging("console", "warning")


@app.command()
def conformance(
    files: Annotated[Path, typer.Argument(help="Folder of FHIR JSON files, with or without a manifest.csv.")],
    output: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/conformance.md"),
    port: Annotated[int, typer.Option(help="Port of the embedded run that judges.")] = 8089,
) -> None:
    """Post every file of a folder to an embedded kanwa and write what became of it."""
    from tempfile import TemporaryDirectory

    from kanwa.conformance import judge, report, run_suites
    from kanwa.embedded.run import embedded

    async def go() -> int:
        with TemporaryDirectory(prefix="kanwa-conformance-") as folder:
            async with embedded(Path(folder), port, asyncio.Event()) as running:
                verdicts = await judge(running.fhir, files)
                suites = await run_suites(running.fhir, files)
        output.write_text(report(verdicts, suites))
        return sum(1 for verdict in verdicts if verdict.wrong) + sum(1 for case in suites if case.fault)

    if not files.is_dir():
        raise SystemExit(f"kanwa: {files} is no folder")
    _log_to_console()
    typer.echo(f"{asyncio.run(go())} wrong verdicts; see {output}")
