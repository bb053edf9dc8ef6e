"""`make bench`: kanwa under load beside the floor of the same machine, measured in the same run.

Everything is on loopback and bounded. Figures depend on the machine and on what else it does: compare the two
columns of one run, not runs of two days.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.durable_postgres import durability, durable_postgres
from tests.bench.event_pace import consumer_pace, relay_pace
from tests.bench.fanout import fan_out
from tests.bench.floors import commits, publishes
from tests.bench.http_load import Measured
from tests.bench.one_worker import Comparison, compare
from tests.bench.scale import growth
from tests.bench.whole import Whole, measure
from tests.support.deployment import process_deployment
from tests.support.ports import unused_port
from tests.support.postgres import Databases
from tests.support.rabbitmq import Broker, broker
from tests.support.redis import redis_database

GOAL = 0.60
RELAY_GOAL = 0.70
CONSUMER_GOAL = 0.60
EVENTS_RELAYED = 6000
EVENTS_CONSUMED = 3000
HEADER = f"{'':46}{'per s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'CPU s/1000':>12}"


def main() -> int:
    """Measure and print; 1 if what was measured stays below its goal."""
    arguments = _arguments()
    with ExitStack() as stack:
        server_url = stack.enter_context(durable_postgres())
        databases = Databases(server_url)
        stack.callback(databases.close)

        def database(*folders: Path) -> str:
            url = databases.create(*folders)
            stack.callback(databases.drop, url)
            return url

        _say(
            f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {arguments.concurrency} connections",
            durability(server_url),
        )
        if arguments.what == "scale":
            _scale(database, arguments)
            _write_results(arguments.json)
            return 0
        if arguments.what == "events":
            reached = _events(database, stack.enter_context(broker()), arguments.rounds)
            _write_results(arguments.json)
            return 0 if reached else 1
        _say(HEADER)
        if arguments.what == "fanout":
            _fan_out(database, stack.enter_context(broker()), stack, arguments)
            _write_results(arguments.json)
            return 0
        rabbitmq = stack.enter_context(broker()) if arguments.what == "all" else None
        _floors(database, rabbitmq, arguments)
        compared = compare(
            database,
            requests=arguments.requests,
            seconds=arguments.seconds,
            concurrency=arguments.concurrency,
            rounds=arguments.rounds,
        )
        _show_comparison(compared)
        if rabbitmq is not None:
            whole = _whole(database, rabbitmq, stack, arguments)
            _show_whole(whole)
    _write_results(arguments.json)
    return 0 if compared.ratio >= GOAL else 1


def _write_results(path: str | None) -> None:
    if path:
        Path(path).write_text(json.dumps(RESULTS, indent=1))


#: The same figures for a program, see `--json`.
RESULTS: dict[str, Any] = {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests of one run, at most")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run, at most")
    parser.add_argument("--concurrency", type=int, default=16, help="connections at a time")
    parser.add_argument("--rounds", type=int, default=3, help="turns of floor and kanwa")
    parser.add_argument("--board-posts", type=int, default=30, help="referrals followed to the board")
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--sizes", default="10000,100000", help="scale: resources in the store, in turn")
    parser.add_argument("--plans", help="scale: file to write the plans of every search to")
    parser.add_argument("--readers", type=int, default=200, help="fanout: SSE clients")
    parser.add_argument("--queues", type=int, default=50, help="fanout: AMQP queues")
    whats = ["all", "worker", "scale", "events", "fanout"]
    parser.add_argument("what", nargs="?", choices=whats, default="all")
    return parser.parse_args()


def _scale(database: Callable[..., str], arguments: argparse.Namespace) -> None:
    """Cost of reads and searches as the store grows; one request at a time, the median of each question."""
    sizes = [int(size) for size in arguments.sizes.split(",")]
    measured: dict[str, list[Measured]] = {}
    with ExitStack() as stack:
        plans = stack.enter_context(Path(arguments.plans).open("w")) if arguments.plans else None
        for size, name, run in growth(database, sizes, plans=plans):
            measured.setdefault(name, []).append(run)
            RESULTS.setdefault("scale", []).append(
                {
                    "name": name,
                    "resources": size,
                    "p50_ms": run.percentile(50) * 1000,
                    "cpu_ms": run.cpu_per_thousand,
                    "failures": run.failures,
                }
            )
    _say("", "median ms over HTTP (CPU ms of API process and PostgreSQL together)")
    _say(f"{'resources in the store':36}" + "".join(f"{size:>18,}" for size in sizes))
    for name, runs in measured.items():
        cells = [f"{run.percentile(50) * 1000:.1f} ({run.cpu_per_thousand or 0:.1f})" for run in runs]
        failed = "  FAILED" if any(run.failures for run in runs) else ""
        _say(f"{name:36}" + "".join(f"{cell:>18}" for cell in cells) + failed)


def _events(database: Callable[..., str], rabbitmq: Broker, rounds: int) -> bool:
    """Relay and consumer beside bare ones; whether both reach their goals."""
    amqp_url, reached = rabbitmq.virtual_host_url(), True
    _say(f"{'':46}{'per s':>9}{'':27}{'CPU s/1000':>12}")
    for name, measured, count, goal in (
        ("relay", relay_pace, EVENTS_RELAYED, RELAY_GOAL),
        ("consumer", consumer_pace, EVENTS_CONSUMED, CONSUMER_GOAL),
    ):
        pace = measured(database, amqp_url, count=count, rounds=rounds)
        for bare, ours in zip(pace.bare, pace.kanwa, strict=True):
            for side, turn in (("bare pika", bare), ("kanwa", ours)):
                _say(f"{name + ': ' + side:46}{turn.rate:9.0f}{'':27}{turn.cpu_per_thousand:12.2f}")
        RESULTS[f"{name}_ratio"] = pace.ratio
        _say(f"the {name} reaches {pace.ratio:.0%} of the bare one (goal {goal:.0%})", "")
        reached &= pace.ratio >= goal
    return reached


def _floors(database: Callable[..., str], rabbitmq: Broker | None, arguments: argparse.Namespace) -> None:
    url, most = database(), {"count": arguments.requests, "seconds": arguments.seconds}
    for connections in (1, arguments.concurrency):
        run = uvloop.run(commits(url, **most, connections=connections))
        _show(f"floor: commits of one row, {connections} at a time", run)
    if rabbitmq is not None:
        amqp_url = rabbitmq.virtual_host_url()
        for connections in (1, 4):
            run = publishes(amqp_url, **most, connections=connections)
            _show(f"floor: confirmed publishes, {connections} at a time", run)


def _show_comparison(compared: Comparison) -> None:
    for bare, ours in zip(compared.floor, compared.kanwa, strict=True):
        _show("floor: bare FastAPI, the same rows", bare)
        _show("kanwa: POST ServiceRequest, one worker", ours)
    RESULTS["ratio"] = compared.ratio
    RESULTS["cpu_ratio"] = compared.cpu_ratio
    _say(
        f"one worker reaches {compared.ratio:.0%} of the floor (goal {GOAL:.0%}); "
        f"it takes {compared.cpu_ratio:.2f} times the floor's CPU"
    )


def _whole(
    database: Callable[..., str], rabbitmq: Broker, stack: ExitStack, arguments: argparse.Namespace
) -> Whole:
    redis_url = stack.enter_context(redis_database())
    deployment = stack.enter_context(
        process_deployment(database, rabbitmq.virtual_host_url(), redis_url, unused_port)
    )
    return uvloop.run(
        measure(
            deployment,
            requests=arguments.requests,
            seconds=arguments.seconds,
            concurrency=arguments.concurrency,
            board_posts=arguments.board_posts,
        )
    )


def _fan_out(
    database: Callable[..., str], rabbitmq: Broker, stack: ExitStack, arguments: argparse.Namespace
) -> None:
    """Commit to client, with many clients, at half of the greatest write rate."""
    redis_url, amqp_url = stack.enter_context(redis_database()), rabbitmq.virtual_host_url()
    deployment = stack.enter_context(process_deployment(database, amqp_url, redis_url, unused_port))
    fanout = uvloop.run(
        fan_out(
            deployment,
            amqp_url,
            readers=arguments.readers,
            queues=arguments.queues,
            requests=arguments.requests * 10,
            seconds=arguments.seconds,
        )
    )
    _show("POST ServiceRequest, nobody listening", fanout.alone)
    _show("POST ServiceRequest, everybody listening", fanout.most)
    _say(f"{fanout.delivered:.0f} of them a second reached everybody")
    _show("POST ServiceRequest, half as many", fanout.posted)
    _show(f"commit to client, {arguments.readers} SSE clients", fanout.sse)
    _show(f"commit to client, {arguments.queues} AMQP queues", fanout.amqp)
    for kind, (fewest, greatest) in fanout.received.items():
        _say(f"{kind}: {fewest} to {greatest} events at each client, of {fanout.events}")
    RESULTS["received"], RESULTS["events"] = fanout.received, fanout.events
    RESULTS["delivered per second"] = fanout.delivered


def _show_whole(whole: Whole) -> None:
    _say("", "every service in its own processes, all working")
    for name, run in whole.runs.items():
        _show(f"kanwa: {name}", run)
    _say(
        f"events: {whole.events} of the referrals were on the exchange, {whole.events_per_second:.0f} a second"
    )
    board = Measured(whole.board, sum(whole.board))
    _show("POST to the board (SSE), one after another", board)


def _show(name: str, run: Measured) -> None:
    figures = {
        "rate": run.rate,
        **{f"p{percent}_ms": run.percentile(percent) * 1000 for percent in (50, 95, 99)},
        "cpu_seconds_per_1000": run.cpu_per_thousand,
        "failures": run.failures,
    }
    RESULTS.setdefault("runs", []).append({"name": name, **figures})
    cpu = "" if run.cpu_per_thousand is None else f"{run.cpu_per_thousand:12.2f}"
    failed = f"  FAILED {run.failures}" if run.failures else ""
    _say(
        f"{name:46}{run.rate:9.0f}{figures['p50_ms']:9.1f}{figures['p95_ms']:9.1f}{figures['p99_ms']:9.1f}{cpu}{failed}"
    )


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201  # this program's output


if __name__ == "__main__":
    sys.exit(main())
