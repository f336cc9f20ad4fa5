"""`headstart networks`: which are published, and one of them for a machine off the web."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from headstart.core.artefacts import replacing
from headstart.core.errors import UserError, located
from headstart.data import weights
from headstart.params import reading, yaml_text

_PARAMETERS = Path("params.yaml")

commands = typer.Typer(invoke_without_command=True)


@commands.callback()
def _list(context: typer.Context) -> None:
    """List the published networks that source_training.from can name."""
    if context.invoked_subcommand is None:
        table()


@commands.command("fetch")
def _fetch(
    name: Annotated[str, typer.Argument(help="As `headstart networks` lists it.")],
    to: Annotated[Path, typer.Option(help="The folder to put it into.")],
    input_size: Annotated[
        int | None,
        typer.Option(min=1, help="In pixels, where weights were trained at several sizes."),
    ] = None,
) -> None:
    """Bring the weights of a network, verified, for a machine that is off the web."""
    size = (input_size, input_size) if input_size else "auto"
    for line in fetch(name, to, input_size=size):
        typer.echo(f"  {line}")


def table() -> None:
    """Prints what `source_training.from` can name."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column("keras:NAME", no_wrap=True)
    for column in ("parameters", "MB", "pixels", "GFLOPs"):
        shown.add_column(column, justify="right")
    for column in ("takes", "licence", "sum"):
        shown.add_column(column)
    for name, network in weights.NETWORKS.items():
        sizes = {network.sizes[0], network.sizes[-1]}
        shown.add_row(
            name,
            f"{network.parameters:,}",
            str(network.megabytes),
            " to ".join(map(str, sorted(sizes))),
            f"{network.flops / 1e9:.2f}",
            network.preprocessing,
            network.licence,
            ", ".join(name.upper() for name in network.published().sums) or "none",
        )
    Console(highlight=False).print(shown)


def fetch(name: str, folder: Path, *, input_size: tuple[int, int] | str) -> list[str]:
    """Puts the weights of the network `name` into `folder`, with their sum beside them.

    Where Keras publishes no sum, that of what came goes into the `params.yaml` of a project here
    that names this network and takes this file of it. Returns what to tell.

    Raises:
        UserError: There is no such network, or no source has it.
    """
    network = weights.NETWORKS.get(name.removeprefix(weights.SCHEME))
    if network is None:
        raise UserError(f"there is no network {name}; there are {', '.join(weights.NETWORKS)}")
    source = f"{weights.SCHEME}{network.name}"
    chosen = None
    if _PARAMETERS.is_file():
        chosen = reading.load(_PARAMETERS).source_training
        if chosen.from_ != source:
            chosen = None
    if chosen and input_size == "auto":
        input_size = chosen.input_size
    if chosen and network.side(chosen.input_size) != network.side(input_size):
        # Its sum is of the weights for another size.
        chosen = None
    with located("", **{"from": f"networks fetch {network.name}"}):
        arrival, sum_ = weights.fetch(
            network,
            folder,
            input_size=input_size,
            sha256=chosen.sha256 if chosen else None,
            environment=os.environ,
        )
    path = folder / arrival.name
    with replacing(path.with_name(f"{path.name}.sha256")) as part:
        part.write_text(f"{sum_}  {path.name}\n", encoding="utf-8")  # as sha256sum reads it
    lines = [f"{path}: {arrival.bytes / 1e6:.1f} MB, SHA-256 {sum_}"]
    side = network.side(input_size)
    if not isinstance(input_size, str) and input_size != (side, side):
        asked = " x ".join(map(str, input_size))
        lines.append(f"none were trained at {asked} pixels: a run takes these, trained at {side}")
    if chosen and chosen.sha256 is None and not network.published(input_size).sums:
        text = yaml_text.edited(reading.read(_PARAMETERS), {"source_training.sha256": f'"{sum_}"'})
        with replacing(_PARAMETERS) as part:
            part.write_text(text, encoding="utf-8")
        lines.append(f"{_PARAMETERS}: source_training.sha256 holds it from now on")
    return [
        *lines,
        f"elsewhere: HEADSTART_MIRROR={shlex.quote(str(folder.resolve()))} headstart run",
    ]
