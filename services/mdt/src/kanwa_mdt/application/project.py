"""An event arrives: inbox row, log row and read models in one commit.

Handlers that run at the same time share a commit: appends go one after the other anyway, and a commit costs
the same for one event as for a hundred.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from psycopg import AsyncConnection, OperationalError

from kanwa_mdt.domain.case import Case
from kanwa_mdt.domain.fact import STEPS, Fact, Reading, read_event
from kanwa_mdt.domain.fold import cases_of
from kanwa_mdt.store import cases, facts, log
from kanwa_shared.messaging.envelope import Ack, Event, Outcome
from kanwa_shared.messaging.metrics import STALE_EVENTS

BATCH_MAX: Final = 128
_NOTHING: Final[frozenset[str]] = frozenset()

Connection = AsyncConnection[Any]
Poke = Callable[[int], Awaitable[None]]


class Pool(Protocol):
    """The part of psycopg's AsyncConnectionPool that is needed."""

    def connection(self, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Borrow a connection."""
        ...


class Projection:
    """Takes events into the log and the read models; one per process. `poke` tells readers of a position."""

    def __init__(self, pool: Pool, consumer: str, poke: Poke):
        self._pool = pool
        self._consumer = consumer
        self._poke = poke
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._turn = asyncio.Lock()

    async def on_event(self, event: Event) -> Outcome:
        """Take one event; a second delivery changes nothing. Raises what the database raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        async with self._turn:
            if not done.done():
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._take(batch)
        await done
        return Ack()

    async def _take(self, batch: Sequence[tuple[Event, "asyncio.Future[None]"]]) -> None:
        try:
            await self._commit([event for event, _ in batch])
        except OperationalError as error:
            _settle(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _settle(batch, error)
                return
            # One of them is at fault; the others must not fail with it.
            for one in batch:
                await self._take([one])
        else:
            _settle(batch, None)

    async def _commit(self, events: Sequence[Event]) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            last = await log.lock_log(connection)
            unseen = await log.receive(connection, self._consumer, events)
            new = list({event.id: event for event in events if event.id in unseen}.values())
            if new:
                await log.append(connection, last, await project(connection, self._consumer, new))
        if new:
            await self._poke(last + len(new))


async def project(connection: Connection, consumer: str, events: Sequence[Event]) -> list[log.Appended]:
    """Fold events into the read models of `consumer`; gives what the log says of each."""
    readings = [read_event(event) for event in events]
    before = await facts.find(
        connection, (e.resource for e, r in zip(events, readings, strict=True) if r.fact)
    )
    stale = sum(
        f.version <= before[f.reference].version for r in readings if (f := r.fact) and f.reference in before
    )
    STALE_EVENTS.labels(consumer).inc(stale)
    await facts.keep(connection, _newest(reading.fact for reading in readings))
    touched = await _touched(connection, events, readings, before)
    patients = {p for r in readings if (p := r.patient)} | {p for f in before.values() if (p := f.patient)}
    # A step that names one referral takes its measurements away from the patient's other ones.
    siblings = await facts.siblings(connection, {r for requests in touched for r in requests}, patients)
    known = await _refresh(connection, siblings)
    return [
        _appended(event, reading, requests, known)
        for event, reading, requests in zip(events, readings, touched, strict=True)
    ]


def _newest(found: Iterable[Fact | None]) -> list[Fact]:
    newest: dict[str, Fact] = {}
    for fact in found:
        if fact is not None and (
            fact.reference not in newest or newest[fact.reference].version < fact.version
        ):
            newest[fact.reference] = fact
    return list(newest.values())


async def _touched(
    connection: Connection, events: Sequence[Event], readings: Sequence[Reading], before: dict[str, Fact]
) -> list[list[str]]:
    """The ServiceRequests that each event is about; what the version before it named counts too."""
    earlier = [before.get(event.resource) for event in events]
    links = [r.links | (e.links if e else _NOTHING) for r, e in zip(readings, earlier, strict=True)]
    about = [
        {p for p in (r.patient, e.patient if e else None) if p}
        for r, e in zip(readings, earlier, strict=True)
    ]
    steps = {ref for found in links for ref in found if _is_step(ref)}
    of_steps = await facts.requests_of_steps(connection, steps)
    of_patients = await facts.requests_of_patients(connection, {p for patients in about for p in patients})
    touched: list[list[str]] = []
    for event, found, patients in zip(events, links, about, strict=True):
        own = [event.resource] if event.resource_type == "ServiceRequest" else []
        named = [ref for ref in found if ref.startswith("ServiceRequest/")]
        through = [request for ref in found for request in of_steps.get(ref, ())]
        # What names no referral is part of the patient's record, so it is about all of them.
        others = [] if own or named or through else [r for p in patients for r in of_patients.get(p, ())]
        touched.append(sorted({*own, *named, *through, *others}))
    return touched


async def _refresh(connection: Connection, requests: set[str]) -> dict[str, Case]:
    if not requests:
        return {}
    around = await facts.around(connection, requests)
    shown = [case for case in cases_of(sorted(requests), around) if case is not None]
    await cases.write(connection, shown)
    known = {f"ServiceRequest/{case.service_request}": case for case in shown}
    await cases.remove(connection, (r.partition("/")[2] for r in requests if r not in known))
    return known


def _appended(
    event: Event, reading: Reading, requests: Sequence[str], known: dict[str, Case]
) -> log.Appended:
    touched = [known[request] for request in requests if request in known]
    return log.Appended(
        event=event,
        patient=reading.patient or next((c.patient.reference for c in touched), None),
        links=reading.links,
        requests=tuple(f"ServiceRequest/{case.service_request}" for case in touched),
        stages=tuple(sorted({case.stage.value for case in touched})),
        sites=tuple(sorted({site for case in touched for site in case.sites})),
    )


def _is_step(reference: str) -> bool:
    return reference.partition("/")[0] in STEPS


def _settle(batch: Sequence[tuple[Event, "asyncio.Future[None]"]], error: Exception | None) -> None:
    for _, done in batch:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
