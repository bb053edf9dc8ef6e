"""The processes of kanwa under a restart policy, to be killed and paused by name."""

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import STOP_SECONDS

LOOK_SECONDS = 0.05
#: A restart policy waits a little, so that a process that can't start does not spin.
RESTART_SECONDS = 0.3


@dataclass(slots=True)
class Process:
    """How one process is started, and its life at present."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    handle: subprocess.Popen[Any] | None = None
    started: int = 0
    not_before: float = 0.0
    killed: bool = False
    paused: bool = False

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.handle = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started += 1
        self.killed = self.paused = False

    @property
    def running(self) -> bool:
        return self.handle is not None and self.handle.poll() is None


@dataclass(slots=True)
class Supervisor:
    """Starts what has ended. `own_ends` counts processes that ended without being killed by the rig."""

    processes: dict[str, Process]
    own_ends: Counter[str] = field(default_factory=Counter[str])

    async def run(self) -> None:
        """Keep all up until cancelled."""
        for process in self.processes.values():
            process.start()
        while True:
            for process in self.processes.values():
                self._look_after(process)
            await asyncio.sleep(LOOK_SECONDS)

    def kill(self, name: str, *, down_seconds: float = RESTART_SECONDS) -> bool:
        """SIGKILL; it is started again after `down_seconds`. Whether it was running."""
        process = self.processes[name]
        if not process.running or process.handle is None:
            return False
        process.killed = True
        process.not_before = time.monotonic() + down_seconds
        process.handle.send_signal(signal.SIGKILL)
        return True

    def pause(self, name: str, paused: bool) -> bool:
        """SIGSTOP, or SIGCONT with False. Whether it was running."""
        process = self.processes[name]
        if not process.running or process.handle is None:
            return False
        process.handle.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)
        process.paused = paused
        return True

    def stop(self) -> None:
        """SIGKILL all, each by its own process id: what they would do in an orderly end nobody waits for."""
        handles = [process.handle for process in self.processes.values() if process.handle is not None]
        for handle in handles:
            handle.kill()
        for handle in handles:
            handle.wait(STOP_SECONDS)

    def _look_after(self, process: Process) -> None:
        if process.running:
            return
        now = time.monotonic()
        if process.handle is not None:
            if not process.killed:
                self.own_ends[process.name] += 1
                process.not_before = now + RESTART_SECONDS
            process.handle = None
        if now >= process.not_before:
            process.start()
