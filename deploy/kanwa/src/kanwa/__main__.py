"""`python -m kanwa` is the `kanwa` command."""

from kanwa.cli import app

app()
