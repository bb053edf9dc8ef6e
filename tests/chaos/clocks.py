"""The time of day as each process sees it: libfaketime, told by a file, where it is installed."""

from pathlib import Path

from tests.support.installation import apt_install

PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1")


class Clocks:
    """One offset file for each process. Without the library nothing is shifted and `available` is False."""

    def __init__(self, folder: Path, *, wanted: bool) -> None:
        self._folder = folder
        self._library = _library() if wanted else None
        if wanted and self._library is None and apt_install("libfaketime"):
            self._library = _library()

    @property
    def available(self) -> bool:
        return self._library is not None

    def environment(self, process: str) -> dict[str, str]:
        """What a process must be started with so that its clock can be shifted later."""
        if self._library is None:
            return {}
        self.shift(process, 0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(process)),
            "FAKETIME_NO_CACHE": "1",  # a running process does not see another offset otherwise
            "DONT_FAKE_MONOTONIC": "1",
        }

    def shift(self, process: str, seconds: int) -> None:
        """Let the process's clock jump to so many seconds from the right time."""
        beside = self._file(process).with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.replace(self._file(process))

    def _file(self, process: str) -> Path:
        return self._folder / f"{process}.clock"


def _library() -> Path | None:
    root = Path("/")
    return next((path for place in PLACES for path in sorted(root.glob(place.lstrip("/")))), None)
