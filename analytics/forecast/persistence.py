"""Writing a fitted forecaster to one file, and reading it without running anything that the file brings.

The file is a NumPy archive of plain arrays, read with pickling off, and one JSON header.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.forecast.combination import Combination, Record
from analytics.forecast.forecaster import PowerForecaster, Provenance
from analytics.forecast.forest import QuantileForest
from analytics.forecast.linear import LinearModel
from analytics.forecast.members import FORESTS, Members
from analytics.forecast.series import RegularSeries
from domain.errors import ForecastError

FORMAT = 3
Part = TypeVar("Part", QuantileForest, LinearModel, Record, Combination)
Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]


def save(forecaster: PowerForecaster, path: Path) -> None:
    """Write a fitted forecaster; the file appears whole or not at all.

    Parameters
    ----------
    forecaster : PowerForecaster
        Fitted.
    path : Path
        Replaced where it exists.
    """
    arrays: Arrays = {"series": forecaster.series_.raw, "leads": forecaster.leads_}
    header: Header = {
        "format": FORMAT,
        "parameters": {**forecaster.get_params(), "known": list(forecaster.known)},
        "known": list(forecaster.known_),
        "start": forecaster.series_.start.isoformat(),
        "zone": None if forecaster.series_.start.tz is None else str(forecaster.series_.start.tz),
        "time_unit": forecaster.series_.start.unit,
        "step_ns": int(forecaster.series_.step.as_unit("ns").value),
        "left_out": forecaster.left_out_,
        "implausible": forecaster.implausible_,
        "horizon_steps": forecaster.horizon_steps_,
        "trained": forecaster.trained_,
        "spacing": forecaster.spacing_,
        "provenance": {
            field.name: str(getattr(forecaster.provenance_, field.name))
            if field.name in ("first", "last")
            else getattr(forecaster.provenance_, field.name)
            for field in fields(Provenance)
        },
    }
    if forecaster.covariates_ is not None:
        frame = forecaster.covariates_
        arrays["covariates"] = frame.to_numpy(dtype=float)
        arrays["covariate_times"] = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
        header["covariates"] = [str(column) for column in frame.columns]
    if forecaster.members_ is not None:
        members = forecaster.members_
        header["last_target"] = members.last_target
        _pack("linear", members.linear, arrays, header)
        for name, forest in members.forests.items():
            _pack(f"forest.{name}", forest, arrays, header)
    if forecaster.record_ is not None:
        _pack("record", forecaster.record_, arrays, header)
    if forecaster.combination_ is not None:
        _pack("combination", forecaster.combination_, arrays, header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    draft.replace(path)


def load(path: Path) -> PowerForecaster:
    """Read a forecaster that ``save`` wrote.

    Raises
    ------
    ForecastError
        If the file is absent, damaged, inconsistent or of a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: Arrays = {name: archive[name] for name in archive.files}
        header: Header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ForecastError(
                f"{path} has model format {header['format']}; this version reads {FORMAT}: fit anew"
            )
        return _rebuilt(arrays, header)
    except OSError as error:
        raise ForecastError(f"no model can be read from {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ForecastError(
            f"{path} holds no sound model ({type(error).__name__}: {error}): fit anew"
        ) from error


def _rebuilt(arrays: Arrays, header: Header) -> PowerForecaster:
    forecaster = PowerForecaster(**header["parameters"])
    unit = header["time_unit"]
    start = pd.Timestamp(header["start"]).as_unit(unit)
    if header["zone"] is not None:
        start = start.tz_convert(header["zone"])
    forecaster.series_ = RegularSeries(
        start, pd.Timedelta(header["step_ns"], unit="ns").as_unit(unit), arrays["series"]
    )
    forecaster.leads_ = arrays["leads"]
    forecaster.known_ = tuple(header["known"])
    forecaster.left_out_ = int(header["left_out"])
    forecaster.implausible_ = int(header["implausible"])
    forecaster.horizon_steps_ = int(header["horizon_steps"])
    forecaster.trained_ = int(header["trained"])
    forecaster.spacing_ = int(header["spacing"])
    provenance = header["provenance"]
    forecaster.provenance_ = Provenance(
        **{**provenance, "first": pd.Timestamp(provenance["first"]), "last": pd.Timestamp(provenance["last"])}
    )
    forecaster.covariates_ = None
    if "covariates" in header:
        times = pd.DatetimeIndex(arrays["covariate_times"].view("datetime64[ns]"))
        if header["zone"] is not None:
            times = times.tz_localize("UTC").tz_convert(header["zone"])
        forecaster.covariates_ = pd.DataFrame(arrays["covariates"], index=times, columns=header["covariates"])
    forecaster.members_ = None
    if "last_target" in header:
        forests = {
            name: _unpack(QuantileForest, f"forest.{name}", arrays, header)
            for name in (kind.name for kind in FORESTS)
        }
        for forest in forests.values():
            _check_trees(forest)
        forecaster.members_ = Members(
            linear=_unpack(LinearModel, "linear", arrays, header),
            forests=forests,
            last_target=int(header["last_target"]),
        )
    forecaster.record_ = _unpack(Record, "record", arrays, header) if "record.actual" in arrays else None
    forecaster.combination_ = (
        _unpack(Combination, "combination", arrays, header) if "combination.shift" in arrays else None
    )
    return forecaster


def _check_trees(forest: QuantileForest) -> None:
    """Refuse trees that would lead nowhere or round in circles: a child always lies behind its parent."""
    count = len(forest.feature)
    inner = forest.feature >= 0
    node = np.arange(count)
    for child in (forest.left, forest.right):
        if len(child) != count or (child[inner] <= node[inner]).any() or (child >= count).any():
            raise ValueError("a tree's nodes do not fit together")
    if len(forest.threshold) != count or len(forest.leaf) != count or not (forest.roots < count).all():
        raise ValueError("a tree's arrays differ in length")


def _pack(prefix: str, part: Any, arrays: Arrays, header: Header) -> None:
    """Put a flat dataclass's arrays and plain values under ``prefix``."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}.{field.name}"] = value
        else:
            header[f"{prefix}.{field.name}"] = value


def _unpack(kind: type[Part], prefix: str, arrays: Arrays, header: Header) -> Part:
    named = {field.name: f"{prefix}.{field.name}" for field in fields(kind)}
    values: dict[str, Any] = {
        name: arrays[key] if key in arrays else header[key] for name, key in named.items()
    }
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return kind(**values)
