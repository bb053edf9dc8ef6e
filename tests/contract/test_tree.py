"""What must not be in the repository: addresses of package registries and traces of one machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "deb.debian" + ".org",
    "archive.ubuntu" + ".com",
]
OPTIONS = ["--index" + "-url", "--extra-index" + "-url", "--trusted" + "-host", "--find" + "-links"]
MACHINE_PATHS = ["/work/" + "main", "/work/" + "shared", "/opt/" + "wheels", "/opt/" + "pypi"]


def tracked_files() -> list[Path]:
    """List what is or would be committed; in an unpacked archive, all but what make made."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        return [
            path for name in listing.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()
        ]
    made = {".venv", ".kanwa", ".git", "__pycache__"}
    return [
        path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)
    ]


def holding(words: list[str]) -> list[str]:
    pattern = re.compile("|".join(map(re.escape, words)).encode())
    return [str(path.relative_to(ROOT)) for path in tracked_files() if pattern.search(path.read_bytes())]


@pytest.mark.parametrize("words", [REGISTRIES, MACHINE_PATHS], ids=["registry", "machine-path"])
def test_no_file_names_a_registry_or_a_path_of_one_machine(words: list[str]) -> None:
    assert holding(words) == []


def test_no_file_chooses_a_package_index() -> None:
    assert holding(OPTIONS) == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_has_a_version_and_hashes_and_nothing_else(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", "")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert entries
    for entry in entries:
        assert re.fullmatch(
            r"[a-z0-9.\[\]-]+==[^ ]+( ; [^#]+?)?\s+(--hash=sha256:[0-9a-f]{64}\s*)+", entry
        ), entry


def test_the_development_lock_holds_the_runtime_lock() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9.-]+==[^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
