"""Write owners.conf: which service nginx sends a /fhir request to, from the same table as the services use.

    .venv/bin/python deploy/nginx/generate_owners.py

A test compares the file with the table.
"""

from collections.abc import Iterable
from pathlib import Path

from kanwa_shared.ownership import OUTCOMES_TYPES, SCHEDULING_TYPES

OWNERS_FILE = Path(__file__).parent / "owners.conf"


def owners_conf() -> str:
    """Give the text of owners.conf."""
    return "\n".join(
        [
            "# Written by generate_owners.py from kanwa_shared.ownership; /fhir and other types: intake.",
            "map $uri $kanwa_owner {",
            "    default intake;",
            f"    {_rule(SCHEDULING_TYPES)} scheduling;",
            f"    {_rule(OUTCOMES_TYPES)} outcomes;",
            "}",
            "",
        ]
    )


def _rule(types: Iterable[str]) -> str:
    # nginx has joined doubled slashes in $uri by then.
    return f'"~^/fhir/({"|".join(sorted(types))})(/|$)"'


if __name__ == "__main__":
    OWNERS_FILE.write_text(owners_conf())
