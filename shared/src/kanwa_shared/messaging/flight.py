"""What the active relay has under way: rows to send, rows unconfirmed, resources held back. All in memory.

`Flight` sends as fast as the broker confirms while `Relay` reads and marks beside it; nothing here touches the
database. The state is thrown away with the lease.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from kanwa_shared.messaging import metrics
from kanwa_shared.messaging.broker import Backoff, BrokerError, ConnectionLost, Message, Settled, Unroutable
from kanwa_shared.messaging.lease import LEASE_SECONDS
from kanwa_shared.messaging.outbox import BodyMissing, OutboxRow
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.messaging.wire import event_message, hand_over_message, notification_message
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)
_TARGET: Final = "target:"
#: Rows sent without letting anything else run; some milliseconds of work.
_SLICE: Final = 50


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How the relay paces itself.

    `turn_seconds` is the shortest time between two rounds with the database.
    `window` and `window_bytes` bound what is unconfirmed, `read_batch` what is read ahead.
    `confirm_timeout_seconds`: a broker that confirms nothing for so long (a queue without its majority) gets a
    new connection. `max_holds`: with more resources held back than that, the trouble is the broker's, and the
    relay starts over from the oldest row after a pause.
    """

    poll_active_seconds: float = 0.02
    poll_idle_seconds: float = 0.04
    turn_seconds: float = 0.01
    window: int = 1000
    window_bytes: int = 32 * 1024 * 1024
    read_batch: int = 2000
    confirm_timeout_seconds: float = 60.0
    max_holds: int = 1000
    lease_seconds: int = LEASE_SECONDS
    status_seconds: float = 5.0


class Publishes(Protocol):
    """The part of `publisher.Publisher` that is needed to publish."""

    @property
    def ready(self) -> bool:
        """Whether publishing makes sense now."""
        ...

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send; the future is done when the broker has confirmed."""
        ...

    def send(self, message: Message, settled: Settled) -> None:
        """Send; `settled` is called when the broker has confirmed, or with what went wrong."""
        ...

    def reconnect(self) -> None:
        """Drop the connection and open another."""
        ...


@dataclass(slots=True)
class _Sending:
    """A row under way; settled when `open_confirms` is 0."""

    row: OutboxRow
    since: float
    size: int = 0
    open_confirms: int = 0
    failure: BaseException | None = None


@dataclass(slots=True)
class _Hold:
    """What failed: kept back while `waiting`, tried again from `until` on, forgotten after a success."""

    backoff: Backoff
    until: float = 0.0
    sequence: int = 0
    waiting: bool = True


class Flight:
    """Rows between the outbox and the broker's confirms, in the order that `relay.py` promises."""

    def __init__(
        self, service: str, publisher: Publishes, topology: Topology, settings: RelaySettings
    ) -> None:
        #: The last sequence that was read.
        self.cursor = 0
        self.may_have_more = True
        #: Set whenever the relay has something to mark or to read.
        self.wake = asyncio.Event()
        self.confirmed: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self._service = service
        self._publisher = publisher
        self._topology = topology
        self._settings = settings
        self._events: deque[OutboxRow] = deque()
        self._hand_overs: deque[OutboxRow] = deque()
        self._sending: dict[int, _Sending] = {}
        self._unmarked: set[int] = set()
        self._lanes: set[str] = set()
        self._bytes = 0
        self._holds: dict[str, _Hold] = {}
        self._sendable = asyncio.Event()
        self._lost = False
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything is unconfirmed."""
        return bool(self._sending)

    @property
    def wants_events(self) -> bool:
        """Whether to read more events: half of what was read ahead is sent."""
        short = len(self._events) <= self._settings.read_batch // 2
        return self.may_have_more and short and not self._lost

    @property
    def wants_hand_overs(self) -> bool:
        """Whether to read more hand-overs."""
        return not self._hand_overs and not self._lost

    def under_way(self) -> list[int]:
        """Ids of rows that are sent or confirmed, and still unpublished in the database."""
        return [*self._sending, *self._unmarked]

    def held_targets(self) -> list[str]:
        """Targets whose hand-overs are held back."""
        return [
            key.removeprefix(_TARGET)
            for key, hold in self._holds.items()
            if hold.waiting and key.startswith(_TARGET)
        ]

    def offer_events(self, rows: list[OutboxRow]) -> None:
        """Rows in sequence order, read with `cursor` as it is now; none if the connection went meanwhile."""
        self.may_have_more = len(rows) == self._settings.read_batch
        if self._lost or not rows:
            return
        self.cursor = rows[-1].sequence or self.cursor
        self._events.extend(row for row in rows if not self._is_under_way(row))
        self._sendable.set()

    def offer_hand_overs(self, rows: list[OutboxRow]) -> None:
        """Rows in id order."""
        if not self._lost:
            self._hand_overs.extend(row for row in rows if not self._is_under_way(row))
            self._sendable.set()

    def marked(self, ids: list[int]) -> None:
        """These rows are published in the database too."""
        self._unmarked.difference_update(ids)

    def start_over_if_lost(self) -> None:
        """After a lost connection, once all that was under way is settled: read from the oldest row again."""
        if self._lost and not self._sending:
            self._lost = False
            self.cursor, self.may_have_more = 0, True
            self.wake.set()

    def release_holds(self) -> None:
        """Read again from the first row whose time has come; its followers come again with it."""
        now = _now()
        for hold in self._holds.values():
            if not hold.waiting or hold.until > now:
                continue
            hold.waiting = False
            if hold.sequence:
                self.cursor, self.may_have_more = min(self.cursor, hold.sequence - 1), True
                self._events.clear()

    def give_up_on_silence(self) -> None:
        """Ask for a new connection if the oldest message has waited too long for its confirm."""
        oldest = next(iter(self._sending.values()), None)
        late = oldest is not None and _now() - oldest.since > self._settings.confirm_timeout_seconds
        if late and self._publisher.ready:
            metrics.RELAY_FAILURES.labels(self._service, "confirm timeout").inc()
            _log.warning("relay_without_confirms", service=self._service, waiting=len(self._sending))
            self._publisher.reconnect()

    async def send(self) -> None:
        """Send what was offered, until cancelled."""
        while True:
            self._sendable.clear()
            sent = 0
            if self._publisher.ready and not self._lost and _now() >= self._not_before:
                sent = self._send_some(self._events) + self._send_some(self._hand_overs)
            if sent:
                self.wake.set()
                await asyncio.sleep(0)
            else:
                await set_within(self._sendable, self._settings.poll_active_seconds)

    def _send_some(self, rows: deque[OutboxRow]) -> int:
        sent = 0
        while rows and sent < _SLICE and len(self._sending) < self._settings.window:
            row = rows[0]
            if row.lane in self._lanes or self._bytes > self._settings.window_bytes:
                break
            rows.popleft()
            hold = self._holds.get(_hold_key(row))
            if hold is None or not hold.waiting:
                self._send_row(row)
                sent += 1
        return sent

    def _send_row(self, row: OutboxRow) -> None:
        sending = _Sending(row, _now())
        self._sending[row.id] = sending
        self._lanes.add(row.lane)
        try:
            messages = self._messages(row)
        except (BodyMissing, ValueError) as error:
            sending.failure = error
            self._settle(sending)
            return
        sending.size = sum(len(message.body) for message in messages)
        self._bytes += sending.size
        sending.open_confirms = len(messages)
        settled = partial(self._on_confirm, sending)
        for message in messages:
            self._publisher.send(message, settled)

    def _messages(self, row: OutboxRow) -> list[Message]:
        if row.kind == "handover":
            return [hand_over_message(row.hand_over(self._service), self._topology)]
        event = row.event(self._service)
        return [event_message(event, self._topology), notification_message(event, self._topology)]

    def _on_confirm(self, sending: _Sending, error: BrokerError | None) -> None:
        if isinstance(error, Unroutable) and self._is_wanted_by_nobody(sending.row):
            metrics.RELAY_UNROUTED.labels(self._service).inc()
        elif error is not None and not isinstance(sending.failure, ConnectionLost):
            sending.failure = error
        sending.open_confirms -= 1
        if sending.open_confirms == 0:
            self._settle(sending)

    def _is_wanted_by_nobody(self, row: OutboxRow) -> bool:
        routing_key = f"{self._service}.{row.resource_type}.{row.interaction}"
        return row.kind == "event" and not self._topology.expects(routing_key)

    def _settle(self, sending: _Sending) -> None:
        """The row's lane goes on after a confirm, and only then."""
        row, failure = sending.row, sending.failure
        del self._sending[row.id]
        self._bytes -= sending.size
        if failure is None:
            self.confirmed.append(row.id)
            self._unmarked.add(row.id)
            self._holds.pop(_hold_key(row), None)
        elif isinstance(failure, ConnectionLost):
            self._forget_unsent("connection")
        else:
            self._hold_back(row, failure)
        self._lanes.discard(row.lane)
        self._sendable.set()
        self.wake.set()

    def _hold_back(self, row: OutboxRow, failure: BaseException) -> None:
        reason = type(failure).__name__
        metrics.RELAY_FAILURES.labels(self._service, reason).inc()
        _log.warning(
            "relay_row_refused", service=self._service, row=row.id, event_id=row.event_id, reason=reason
        )
        self.refused.append((row.id, str(failure)))
        hold = self._holds.setdefault(_hold_key(row), _Hold(Backoff(0.5, 30.0)))
        hold.waiting, hold.until, hold.sequence = True, _now() + hold.backoff.next(), row.sequence or 0
        if len(self._holds) > self._settings.max_holds:
            self._not_before = _now() + self._settings.confirm_timeout_seconds / 4
            self._holds.clear()
            self._forget_unsent("too many held back")

    def _forget_unsent(self, reason: str) -> None:
        if not self._lost:
            metrics.RELAY_FAILURES.labels(self._service, reason).inc()
        self._lost = True
        self._events.clear()
        self._hand_overs.clear()

    def _is_under_way(self, row: OutboxRow) -> bool:
        return row.id in self._sending or row.id in self._unmarked


def _hold_key(row: OutboxRow) -> str:
    """What a failure of `row` holds back: its resource, or everything for the target of a hand-over."""
    return row.lane if row.target is None else _TARGET + row.target


def _now() -> float:
    return time.monotonic()
