"""The Chromium that browser tests drive."""

import os
from pathlib import Path

from tests.support.installation import apt_install, find_program, stop_the_run

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FOLDERS = (
    "/snap/bin",
    "/Applications/Google Chrome.app/Contents/MacOS",
    "/Applications/Chromium.app/Contents/MacOS",
)


def chromium() -> Path:
    """Give the Chromium (or Chrome) to use: KANWA_CHROMIUM, an installed one, else Debian's package."""
    named = os.environ.get("KANWA_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            stop_the_run(f"KANWA_CHROMIUM names {named}, which can't be run")
        return Path(named)
    found = find_program((*PROGRAMS, "Google Chrome", "Chromium"), FOLDERS) or _playwrights_own()
    if found is None and apt_install("chromium"):
        found = find_program(PROGRAMS)
    if found is None:
        stop_the_run("install chromium for the browser tests (or name one in KANWA_CHROMIUM)")
    return found


def _playwrights_own() -> Path | None:
    """The one that `playwright install chromium` brings."""
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    return next(iter(sorted(folder.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), None)
