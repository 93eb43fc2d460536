"""A CSV file that somebody hands to forecast, backtest or detect: a regular series of bounded length, or a reason why not."""

import contextlib
import tempfile
import warnings
from pathlib import Path

import pandas as pd

from domain.errors import InputError
from service.commands.tables import MOST_ROWS, read_series, read_table

FOLDER = tempfile.TemporaryDirectory(prefix="hallwatch-fuzz-")


def fuzz(data: bytes) -> None:
    file = Path(FOLDER.name) / "series.csv"
    file.write_bytes(data)
    with warnings.catch_warnings(), contextlib.suppress(InputError):
        warnings.simplefilter("ignore", UserWarning)  # pandas, of times that it tries one by one
        series = read_series(file, "time", "power")
        assert isinstance(series.index, pd.DatetimeIndex)
        assert len(series) <= MOST_ROWS
        assert series.index.is_unique
        assert series.notna().any()
    with warnings.catch_warnings(), contextlib.suppress(InputError):
        warnings.simplefilter("ignore", UserWarning)
        read_table(file)
