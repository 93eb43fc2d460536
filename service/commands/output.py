"""What commands print: JSON for programs, aligned columns for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import typer

from domain.errors import printable

_UNSAFE = re.compile(r"[^\x00-\x7e]")


def as_json(data: Any) -> None:
    """Print one JSON document; NaN becomes null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    typer.echo(safe_json(orjson.dumps(data, option=options).decode()))


def safe_json(document: str) -> str:
    """Return a JSON document with what a terminal would take for commands as escapes; it says the same."""
    return document if document.isascii() and "\x7f" not in document else _UNSAFE.sub(_escaped, document)


def _escaped(match: re.Match[str]) -> str:
    text = match[0]
    return text if text.isprintable() else json.dumps(text)[1:-1] if text != "\x7f" else "\\u007f"


def say(text: str, *, err: bool = False) -> None:
    """Print lines that hold words from outside: control characters and changes of direction show as escapes."""
    typer.echo("\n".join(map(printable, text.split("\n"))), err=err)


def as_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a heading, columns aligned."""
    cells = [[str(h) for h in head], *([printable(str(c)) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def when(ms: int) -> str:
    """Return UTC ms as a person reads them; 0 is never."""
    return "never" if ms == 0 else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def to_the_second(ms: int) -> str:
    """Return UTC ms as a person reads them who wants to know exactly."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
