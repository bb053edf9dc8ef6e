"""The operating system account that PostgreSQL runs under: it refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from kanwa.embedded.errors import EmbeddedServerError

# Tried in this order when root starts the embedded run and the folder's owner is root as well.
UNPRIVILEGED_ACCOUNTS: Final = ("postgres", "nobody")
# Enough to enter a checkout inside /root; granted only when no account can enter it by its own rights.
CAPABILITY: Final = "+dac_override"
CHECK_TIMEOUT_SECONDS: Final = 10.0


class UserOptions(TypedDict, total=False):
    """The options of `subprocess` that name the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """How to start a program: as ourselves (`uid` None), or, from root, as another account."""

    name: str | None = None
    uid: int | None = None
    gid: int | None = None
    capability: bool = False

    def command(self, *arguments: str | Path) -> list[str]:
        """Give the command line that runs `arguments` under this account."""
        line = [str(argument) for argument in arguments]
        if not self.capability:
            return line
        switch = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return [*switch, f"--inh-caps={CAPABILITY}", f"--ambient-caps={CAPABILITY}", *line]

    def popen_options(self) -> UserOptions:
        """Give the options for `subprocess` that change the user, where `command` doesn't do it."""
        if self.uid is None or self.gid is None or self.capability:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def choose_account(folder: Path, program: Path) -> Account:
    """Choose who runs `program` on data inside `folder`.

    An ordinary user runs it as themselves. Root gives it to the owner of `folder`, else to an account that
    may do little else; nothing outside `folder` has its permissions changed.
    Raises EmbeddedServerError when root has no account that could reach both.
    """
    if os.geteuid() != 0:
        return Account()
    candidates = list(_candidates(folder))
    for entry in candidates:
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
        if _can_use(account, folder, program):
            return account
    for entry in candidates:
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, capability=True)
        if shutil.which("setpriv") and _can_use(account, folder, program):
            return account
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as root, and no other account may enter {folder}: "
        "run kanwa as an ordinary user, or move it to a folder that others may enter (below /opt, say)."
    )


def _candidates(folder: Path) -> Iterator[pwd.struct_passwd]:
    owner = folder.stat().st_uid
    names: list[int | str] = [owner] if owner != 0 else []
    for name in [*names, *UNPRIVILEGED_ACCOUNTS]:
        try:
            yield pwd.getpwuid(name) if isinstance(name, int) else pwd.getpwnam(name)
        except KeyError:
            continue


def _can_use(account: Account, folder: Path, program: Path) -> bool:
    """Whether the account can start the program and enter the folder."""
    check = 'cd "$1" && "$2" --version'
    try:
        done = subprocess.run(  # noqa: S603 - the program is the one from our own wheel or the system's
            account.command("/bin/sh", "-c", check, "sh", folder, program),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT_SECONDS,
            check=False,
            **account.popen_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
