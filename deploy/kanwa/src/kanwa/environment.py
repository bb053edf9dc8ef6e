"""Variables that a command reads by itself, beside the settings of the services."""

import os

from kanwa_shared.settings import secret_in


def secret(name: str) -> str | None:
    """The variable's value, or the text of the file that `<name>_FILE` names; ends the program if there is none."""
    path = os.environ.get(f"{name}_FILE")
    return os.environ.get(name) if path is None else secret_in(path, f"{name}_FILE")


def required(name: str) -> str:
    """The same. Ends the program with one line where there is none."""
    value = secret(name)
    if not value:
        raise SystemExit(f"kanwa: {name} is not set")
    return value
