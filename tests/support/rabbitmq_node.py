"""A RabbitMQ node of the tests' own, started from installed programs: alone or as part of a cluster."""

import json
import os
import pwd
import secrets
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.installation import find_program
from tests.support.ports import accepts, unused_port
from tests.support.processes import STOP_SECONDS, wait_until

# Debian's command on the path changes the account by itself; the programs in this folder don't.
DEBIAN_PROGRAMS: Final = "/usr/lib/rabbitmq/bin"
CONTROL_SECONDS: Final = 60.0
START_SECONDS: Final = 120.0

Control = Callable[
    ..., str | None
]  # the arguments of rabbitmqctl and its standard input; None when it failed


def installed_programs() -> tuple[Path, Path] | None:
    """rabbitmq-server and rabbitmqctl, None if they are not installed."""
    server = find_program([f"{DEBIAN_PROGRAMS}/rabbitmq-server", "rabbitmq-server"])
    control = find_program([f"{DEBIAN_PROGRAMS}/rabbitmqctl", "rabbitmqctl"])
    return (server, control) if server and control else None


def control_by(command: list[str], environment: Mapping[str, str], **options: object) -> Control:
    """A function that runs rabbitmqctl."""

    def run(*arguments: str, stdin: str = "") -> str | None:
        try:
            done = subprocess.run(  # type: ignore[call-overload]  # the options name the account
                [*command, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                env=environment,
                timeout=CONTROL_SECONDS,
                check=False,
                **options,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    return run


class RabbitNode:
    """One node over `folder`. Nodes that name each other as `peers` form a cluster when they first start.

    `epmd_port` and `cookie` are the same for all nodes of a cluster.
    """

    def __init__(
        self,
        programs: tuple[Path, Path],
        folder: Path,
        *,
        name: str | None = None,
        peers: Sequence[str] = (),
        epmd_port: int | None = None,
        cookie: str | None = None,
    ) -> None:
        self._server, control_program = programs
        self._folder = folder
        self.name = name or node_name("test")
        self.port = unused_port()
        self.epmd_port = epmd_port or unused_port()
        self._process: subprocess.Popen[Any] | None = None
        self._environment = _environment(folder, self.name, self.port, self.epmd_port)
        self._configure(peers, cookie or secrets.token_hex(20))
        self._options = _account_options(folder)
        self.control = control_by(
            [str(control_program), "--quiet"], self._environment, cwd=folder, **self._options
        )

    @property
    def url(self) -> str:
        """Where clients connect, without a virtual host's name."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self._folder / "out"

    def start(self) -> None:
        """Launch the node without waiting for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]  # the options name the account
                [self._server],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._options,
            )

    def wait(self) -> bool:
        """Wait until it answers; whether it started."""
        wait_until(
            lambda: self.accepts(), what=f"RabbitMQ {self.name} ({self.log})", deadline_seconds=START_SECONDS
        )
        return self.control("await_startup") is not None

    def accepts(self) -> bool:
        """Whether clients can connect."""
        return accepts("127.0.0.1", self.port)

    def kill(self) -> None:
        """SIGKILL the node at once: the session that `start` made, which holds nothing else."""
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Stop in order, harder if that takes too long."""
        self._signal(signal.SIGTERM)
        if not self._wait():
            self.kill()

    def stop_name_server(self) -> None:
        """Erlang's name server outlives its nodes; ours has a port of its own and no other node."""
        if epmd := find_program(["epmd"]):
            subprocess.run([epmd, "-port", str(self.epmd_port), "-kill"], capture_output=True, check=False)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait(self) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _configure(self, peers: Sequence[str], cookie: str) -> None:
        lines = [f"listeners.tcp.default = {self.port}"]
        if peers:
            lines.append("cluster_formation.peer_discovery_backend = classic_config")
            lines += [
                f"cluster_formation.classic_config.nodes.{n} = {peer}"
                for n, peer in enumerate(peers, start=1)
            ]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self._folder / "enabled_plugins").write_text("[].\n")
        path = self._folder / ".erlang.cookie"
        path.write_text(cookie)
        path.chmod(0o400)


def node_name(word: str) -> str:
    """A node's name that no other run on this machine has."""
    return f"kanwa-{word}-{os.getpid()}@localhost"


def virtual_host_definitions(user: str, names: Sequence[str]) -> str:
    """For `rabbitmqctl import_definitions`: virtual hosts in which `user` may do everything."""
    everything = {"user": user, "configure": ".*", "write": ".*", "read": ".*"}
    return json.dumps(
        {
            "vhosts": [{"name": name} for name in names],
            "permissions": [{"vhost": name, **everything} for name in names],
        }
    )


def _environment(folder: Path, name: str, port: int, epmd_port: int) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(unused_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def _account_options(folder: Path) -> dict[str, object]:
    """Run the broker as Debian's own account where root starts it."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("rabbitmq")
    except KeyError:
        return {}
    for path in (folder, *folder.iterdir()):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
