"""What commands print: JSON for programs, aligned columns for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import typer


def as_json(data: Any) -> None:
    """Print one JSON document; NaN becomes null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(data, option=options).decode())


def as_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a heading, columns aligned."""
    cells = [[str(h) for h in head], *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def when(ms: int) -> str:
    """Return UTC ms as a person reads them; 0 is never."""
    return "never" if ms == 0 else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
