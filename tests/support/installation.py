"""Where a server's programs come from: installed, a container engine, or apt; else the run stops."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import pytest

APT_TIMEOUT_SECONDS = 600.0
ENGINE_TIMEOUT_SECONDS = 180.0


def stop_the_run(line: str) -> NoReturn:
    """End the test run with one line: a missing server is never a silent skip."""
    pytest.exit(f"kanwa tests: {line}", returncode=1)


def find_program(names: Sequence[str], folders: Sequence[str] = ()) -> Path | None:
    """Find the first of `names` on the path or in `folders`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return next((Path(found) for name in names if (found := shutil.which(name, path=path))), None)


def apt_install(*packages: str) -> bool:
    """Install Debian packages where that is possible without asking: as root, on Debian or Ubuntu."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=APT_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            return False
    return True


class Container:
    """A server in a container, its ports published on 127.0.0.1."""

    def __init__(self, engine: Path, identifier: str) -> None:
        self._engine = engine
        self._identifier = identifier

    @classmethod
    def start(
        cls,
        image: str,
        *,
        published: Mapping[int, int],
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "Container | None":
        """Start `image`; `published` maps ports here to its own. None without an engine that answers or the image."""
        ports = [f"--publish=127.0.0.1:{here}:{inside}" for here, inside in published.items()]
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        for name in ("docker", "podman"):
            engine = find_program([name])
            if engine is None or _run(engine, "info") is None:
                continue
            identifier = _run(engine, "run", "--detach", "--rm", *ports, *variables, image)
            if identifier:
                return cls(engine, identifier.strip().splitlines()[-1])
        return None

    def stop(self) -> None:
        """Stop and remove it."""
        _run(self._engine, "stop", self._identifier)


def _run(engine: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [engine, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENGINE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
