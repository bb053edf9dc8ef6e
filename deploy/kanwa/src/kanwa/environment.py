"""Variables that a command reads by itself, beside the settings of the services."""

import os
from pathlib import Path


def secret(name: str) -> str | None:
    """The variable's value, or the text of the file that `<name>_FILE` names; ends the program if there is none."""
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return os.environ.get(name)
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"kanwa: {name}_FILE={path} cannot be read: {type(error).__name__}") from error


def required(name: str) -> str:
    """The same. Ends the program with one line where there is none."""
    value = secret(name)
    if not value:
        raise SystemExit(f"kanwa: {name} is not set")
    return value
