"""From the data frame that a user hands in to the numbers that a detector works on, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from domain.errors import InputError

FloatArray = npt.NDArray[np.float64]


def numeric_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that hold numbers; times and texts are no signals.

    Raises
    ------
    InputError
        No frame, no rows, no numeric column, or a column name twice.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"a detector reads a pandas DataFrame, got {type(frame).__name__}")
    if not frame.columns.is_unique:
        twice = sorted({str(c) for c in frame.columns[frame.columns.duplicated()]})
        raise InputError(f"column names must be unique; twice: {', '.join(twice)}")
    names = [
        str(c)
        for c in frame.columns
        if pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c])
    ]
    if not names:
        raise InputError(f"no numeric column among {_listed(frame.columns)}; a signal must be numbers")
    return names


def readings(frame: pd.DataFrame, signals: Sequence[str], known: Sequence[str]) -> FloatArray:
    """Return the rows of `signals` as floats, shape (rows, signals); missing and infinite values are NaN.

    Parameters
    ----------
    frame : pd.DataFrame
        What is to be judged.
    signals : sequence of str
        Columns wanted, in this order.
    known : sequence of str
        Every numeric column of the training frame; another one cannot be judged.

    Raises
    ------
    InputError
        A signal is absent, or a numeric column was not there in training.
    """
    present = numeric_columns(frame)
    absent = [s for s in signals if s not in present]
    if absent:
        raise InputError(
            f"signals of the training are absent: {_listed(absent)}; the frame has {_listed(present)}"
        )
    unknown = [c for c in present if c not in known]
    if unknown:
        raise InputError(
            f"columns unknown to the training: {_listed(unknown)}; drop them or fit again with them"
        )
    columns = {str(c): c for c in frame.columns}
    values = frame[[columns[s] for s in signals]].to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _listed(names: Sequence[object] | pd.Index) -> str:
    shown = [str(n) for n in list(names)[:8]]
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
