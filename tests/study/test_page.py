"""`headstart study page` as a person asks for it."""

import pytest
from typer.testing import CliRunner

from headstart import cli


@pytest.mark.parametrize(
    "command", ["study page --section nonsense", "predict --arm nonsense image.png"]
)
def test_value_that_an_option_does_not_take_is_one_message_and_status_one(command: str) -> None:
    done = CliRunner().invoke(cli.app, command.split())
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert "'nonsense' is not one of" in done.output
