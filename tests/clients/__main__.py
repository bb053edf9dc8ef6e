"""Run every client's script against an embedded kanwa of its own, or against BASE: `python -m tests.clients [BASE]`."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.deployment import embedded_deployment
from tests.support.npm import NpmUnreachable, npm_folder
from tests.support.ports import unused_port

PYTHON: Final = ("fhirpy_client", "fhirclient_client")
#: The newest that run on Node 20.
NPM_PACKAGES: Final = ("fhir-kit-client@2.0.3", "fhirclient@2.6.3", "@medplum/core@4.5.2")
NPM: Final = ("fhir_kit_client.mjs", "fhirclient.mjs", "medplum_core.mjs")
_HERE: Final = Path(__file__).parent


def run_python(base: str) -> list[str]:
    """The scripts that failed, of the clients of PyPI."""
    return [
        name
        for name in PYTHON
        if subprocess.run([sys.executable, "-m", f"tests.clients.{name}", base]).returncode
    ]


def run_npm(base: str) -> list[str]:
    """The same of the clients of npm. Raises NpmUnreachable."""
    folder = npm_folder("clients", NPM_PACKAGES)
    failed: list[str] = []
    for name in NPM:
        script = folder / name
        script.write_bytes((_HERE / name).read_bytes())  # Node looks for packages from where the script lies
        if subprocess.run(["node", str(script), base]).returncode:
            failed.append(name)
    return failed


def run_all(base: str) -> int:
    """0 if every flow of every client went through."""
    failed = run_python(base)
    try:
        failed += run_npm(base)
    except NpmUnreachable as reason:
        sys.stderr.write(f"kanwa: the npm clients ({', '.join(NPM_PACKAGES)}) did not run: {reason}\n")
    for name in failed:
        sys.stderr.write(f"kanwa: {name} did not go through\n")
    return min(1, len(failed))


def main() -> int:
    """Against the server of the argument, or one of its own."""
    if len(sys.argv) > 1:
        return run_all(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        port = unused_port()
        with embedded_deployment(Path(folder), port):
            return run_all(f"http://127.0.0.1:{port}/fhir")


if __name__ == "__main__":
    sys.exit(main())
