"""`python -m headstart.cli` is the command `headstart`."""

from headstart.cli import app

app()
