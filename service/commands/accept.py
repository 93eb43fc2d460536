"""After work on the plant: what it is like now is usual."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from service.commands.options import Data
from service.running import data_folder, required


def accept(
    object_id: Annotated[str, typer.Argument(metavar="OBJECT", help="The rack or CDU")],
    note: Annotated[str, typer.Option(help="What was done")] = "",
    who: Annotated[str, typer.Option(help="Who says so (default: the login name)")] = "",
    data: Data = None,
) -> None:
    """Take the present state of a rack or CDU as usual, after work on it, so that it is no anomaly any more."""
    service = required(data_folder(data), "it is the running service that knows the present state")
    service.call("POST", "accept", json={"object": object_id, "who": who or getpass.getuser(), "note": note})
    typer.echo(f"What {object_id} is like now is usual.")
