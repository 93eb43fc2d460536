"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecordsOf = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="DIR", help="Configuration folder, for where the records are"),
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Data folder (default: HALLWATCH_DATA, else ./data)")
]
