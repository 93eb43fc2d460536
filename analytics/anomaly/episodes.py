"""One episode is one alarm: from scored rows to the list that a person reads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analytics.anomaly.naming import named


def episodes(score: pd.Series, contributions: pd.DataFrame, quiet: int) -> pd.DataFrame:
    """Gather rows above 1 into episodes, each with its strongest signals.

    Parameters
    ----------
    score : pd.Series
        Anomaly score, above 1 is anomalous.
    contributions : pd.DataFrame
        What each signal brought to it; same index, one column a signal.
    quiet : int
        An episode ends after this many rows without one above 1.

    Returns
    -------
    pd.DataFrame
        One row an episode: `start`, `end` (index labels of its first and last row above 1), `rows` (how many
        rows above 1), `peak` (its highest score), `signals` (the names, strongest first, comma between).
    """
    above = np.flatnonzero(score.to_numpy() > 1.0)
    parts = np.split(above, np.flatnonzero(np.diff(above) > quiet) + 1) if len(above) else []
    values = contributions.to_numpy()
    found = [
        {
            "start": score.index[part[0]],
            "end": score.index[part[-1]],
            "rows": len(part),
            "peak": float(score.iloc[part].max()),
            "signals": named(values[part].max(axis=0), list(contributions.columns)),
        }
        for part in parts
    ]
    return pd.DataFrame(found, columns=["start", "end", "rows", "peak", "signals"])
