"""Packages of the npm registry for tests that ask programs which exist there only."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[2] / ".venv/npm"
_INSTALL_SECONDS: Final = 300


class NpmUnreachable(RuntimeError):
    """There is no npm, or it cannot fetch the packages."""


def npm_folder(name: str, packages: Sequence[str]) -> Path:
    """A folder whose `node_modules` holds the packages (`name@version`); it is filled once.

    Raises NpmUnreachable with npm's own words.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NpmUnreachable("node and npm are not installed")
    folder = _FOLDER / name
    stamp = folder / ".installed"
    wanted = "\n".join(packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", *packages]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
    )
    if done.returncode:
        raise NpmUnreachable(done.stderr.strip()[-500:])
    stamp.write_text(wanted)
    return folder
