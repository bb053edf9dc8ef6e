"""The commands that people and CI start with."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("arguments", [[], ["help"]], ids=["make", "make help"])
def test_make_lists_every_target_with_one_line(arguments: list[str]) -> None:
    listed = re.findall(r"^  make (\S+) +\S", make("--no-print-directory", *arguments), re.MULTILINE)
    assert listed == TARGETS


@pytest.mark.parametrize("target", ["run", "demo", "test", "lint", "bench", "conformance", "compose-check"])
def test_the_promised_targets_are_there(target: str) -> None:
    assert target in TARGETS


def test_every_target_that_is_named_anywhere_is_there() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md", "*.yml", "*.sh", ".env.example"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    named = {
        (file, target)
        for file in tracked
        for target in re.findall(
            r"(?:`|^|&& |: )make ([a-z]+(?:-[a-z]+)*)(?=[` \n;]|$)", (ROOT / file).read_text(), re.MULTILINE
        )
    }
    assert {"env", "run", "test"} <= {target for _, target in named}
    assert sorted(one for one in named if one[1] not in TARGETS) == []


def test_without_a_usable_python_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "deploy/find-python.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"kanwa: Python 3\.11 or newer was not found; .*\n", done.stderr)


def test_a_python_without_venv_is_told_apart_from_none(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n')
    bare.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "deploy/find-python.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def test_clean_removes_the_folder_of_a_run_that_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / ".kanwa"
    (folder / "postgres").mkdir(parents=True)
    # The process with this number is no PostgreSQL: it must live on.
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    subprocess.run(["sh", ROOT / "deploy/clean.sh", folder], check=True)
    assert not folder.exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="clean.sh needs flock to tell a run in progress")
def test_clean_refuses_while_a_run_uses_the_folder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"held\n")
        holder.stdin.flush()
        holder.stdout.readline()
        done = subprocess.run(
            ["sh", ROOT / "deploy/clean.sh", tmp_path], capture_output=True, text=True, check=False
        )
        holder.stdin.close()
    assert done.returncode == 1
    assert "stop it first" in done.stderr
    assert lock.exists()


def test_ci_runs_lint_and_tests_and_can_be_started() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert re.findall(r"^make (\w+)$", script.read_text(), re.MULTILINE) == ["lint", "test"]
