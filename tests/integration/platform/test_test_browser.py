"""The browser that tests get is a real one."""

import subprocess
from pathlib import Path


def test_the_chromium_of_the_tests_starts(chromium_executable: Path) -> None:
    done = subprocess.run([chromium_executable, "--version"], capture_output=True, text=True, check=True)
    assert "Chrom" in done.stdout
