"""Drive one case of each procedure group through a deployment that is up, and follow its events.

    make compose-check                                     # docker compose of this folder
    make compose-check ARGS="--help"

Exit 0: every case closed, a second booking of the same time was refused, and the events of each resource came
in the order of its versions and without a gap in the sequence of their service.
"""

import argparse
import asyncio
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Generator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Event as ThreadEvent
from threading import Thread
from time import monotonic
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
import pika

from kanwa.demo.cases import CASES, Case
from kanwa.demo.drive import STEPS, Driver, Progress, StepFailed
from kanwa.seed.plant import plant
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Event

#: One of each group: drainage, stents, vertebroplasty and ablation, bleeding (an emergency).
PROCEDURES: Final = ("paracentesis", "biliary-stent", "vertebroplasty", "emergency-embolization")
#: Tokens live five minutes.
TOKEN_RENEWAL_SECONDS: Final = 200.0
#: After the last case closed, its last events may still be on their way.
SETTLE_SECONDS: Final = 30.0
#: The decision reaches scheduling as an event: at once on an idle machine, in seconds on a busy one.
BOOKING_SECONDS: Final = 60.0


class RenewedToken(httpx.Auth):
    """Asks a command for a token, and again before it expires; no command, no header."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._token = ""
        self._expires = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        if self._command:
            if monotonic() > self._expires:
                done = subprocess.run(self._command, capture_output=True, text=True, check=True)  # noqa: S603  # the caller's own
                self._token = done.stdout.strip().splitlines()[-1]
                self._expires = monotonic() + TOKEN_RENEWAL_SECONDS
            request.headers["authorization"] = f"Bearer {self._token}"
        yield request


class Followed:
    """What came on `kanwa.events`, in a thread of its own with a blocking connection."""

    def __init__(self, amqp_url: str, user: str) -> None:
        self.events: list[Event] = []
        self._stop = ThreadEvent()
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self._channel = self._connection.channel()
        queue = f"{user}.compose-check"
        self._channel.queue_declare(queue, exclusive=True)
        self._channel.queue_bind(queue, "kanwa.events", "#")
        self._queue = queue
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for _, _, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=0.2):
            if body is not None:
                self.events.append(Event.from_cloudevent(body))
            if self._stop.is_set():
                break

    def close(self) -> None:
        """Stop reading; the queue goes with the connection."""
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def faults(self) -> list[str]:
        """Say what is out of order; an event that came twice counts once."""
        faults: list[str] = []
        sequences: dict[str, list[int]] = defaultdict(list)
        versions: dict[str, list[int]] = defaultdict(list)
        seen: set[str] = set()
        for event in self.events:
            if event.id in seen:
                continue
            seen.add(event.id)
            sequences[event.source].append(event.sequence)
            versions[f"{event.resource_type}/{event.resource_id}"].append(event.version)
        for source, numbers in sequences.items():
            if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                faults.append(f"the sequence of {source} has a gap or is out of order")
        faults += [
            f"versions of {name} came as {seen}" for name, seen in versions.items() if seen != sorted(seen)
        ]
        return faults


async def check(arguments: argparse.Namespace) -> list[str]:
    """Run the cases; give what is wrong."""
    followed = Followed(arguments.amqp_url, arguments.amqp_user) if arguments.amqp_url else None
    faults: list[str] = []
    base, token = arguments.base_url.rstrip("/") + "/", RenewedToken(arguments.token_command)
    async with httpx.AsyncClient(base_url=base, auth=token, timeout=60) as client:
        zone = ZoneInfo("UTC")
        written = await plant(client, datetime.now(zone).date(), zone)
        say(f"seeded {written} resources")
        driver = Driver(client)
        for case in cases():
            begun = monotonic()
            try:
                progress = await through_the_loop(driver, case)
            except StepFailed as failed:
                faults.append(f"{case.procedure}: {failed}")
                continue
            say(f"{case.procedure}: closed after {monotonic() - begun:.1f} s, {progress.service_request}")
            faults += await second_booking(client, progress)
            if followed:
                faults += await closing_event(followed, progress.service_request)
    if followed:
        followed.close()
        faults += followed.faults()
        say(f"{len(followed.events)} events on kanwa.events")
    return faults


async def through_the_loop(driver: Driver, case: Case) -> Progress:
    """Take the steps of the loop; booking is tried again while scheduling hasn't heard of the decision yet."""
    progress = Progress(case)
    for step in STEPS:
        deadline = monotonic() + BOOKING_SECONDS
        while True:
            try:
                await getattr(driver, step)(progress)
                break
            except StepFailed:
                if step != "book" or monotonic() > deadline:
                    raise
                await asyncio.sleep(1)
    return progress


def cases() -> list[Case]:
    """The example case of each of PROCEDURES. Raises LookupError when one is missing: a check must check."""
    whole = {case.procedure: case for case in CASES if case.stop_after == STEPS[-1]}
    return [whole[procedure] for procedure in PROCEDURES]


async def second_booking(client: httpx.AsyncClient, progress: Progress) -> list[str]:
    """The time that was booked can't be booked again."""
    parameters: dict[str, Any] = {
        "resourceType": "Parameters",
        "parameter": [{"name": "appt-resource", "resource": progress.appointment}],
    }
    headers = {"content-type": "application/fhir+json"}
    answer = await client.post("Appointment/$book", content=dumps(parameters), headers=headers)
    if answer.status_code == HTTPStatus.CONFLICT:
        return []
    return [f"{progress.case.procedure}: booking the booked time again answered {answer.status_code}"]


async def closing_event(followed: Followed, service_request: str) -> list[str]:
    """The completion of the ServiceRequest was published."""
    deadline = monotonic() + SETTLE_SECONDS
    while monotonic() < deadline:
        for event in followed.events:
            name = f"{event.resource_type}/{event.resource_id}"
            if name == service_request and b'"completed"' in (event.body or b""):
                return []
        await asyncio.sleep(0.05)
    return [f"no event told that {service_request} is completed"]


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def variables() -> dict[str, str]:
    """Read what docker compose reads: .env, or without one the example."""
    file = next((path for path in (Path(".env"), Path(".env.example")) if path.exists()), None)
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE)) if file else {}


def arguments_of(variables: dict[str, str]) -> argparse.ArgumentParser:
    """Describe the command line; by default everything is where docker compose put it."""
    port, amqp_port = variables.get("KANWA_PORT", "8080"), variables.get("KANWA_AMQP_PORT", "5672")
    password = variables.get("KANWA_SUBSCRIBER_AMQP_PASSWORD", "")
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--base-url", default=f"http://127.0.0.1:{port}/fhir", help="FHIR base")
    parser.add_argument(
        "--token-command",
        default="docker compose run --rm --no-deps -T token",
        help="prints a bearer token; empty where the deployment asks for none",
    )
    parser.add_argument("--amqp-url", help="broker to follow the events on; empty: they aren't followed")
    parser.add_argument("--amqp-user", default="kanwa_subscriber", help="queue names begin with it")
    parser.set_defaults(amqp_url=f"amqp://kanwa_subscriber:{password}@127.0.0.1:{amqp_port}/%2F")
    return parser


def main() -> int:
    """Read the arguments and check."""
    faults = asyncio.run(check(arguments_of(variables()).parse_args()))
    for fault in faults:
        say(f"WRONG: {fault}")
    say("the loop closed for every group" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
