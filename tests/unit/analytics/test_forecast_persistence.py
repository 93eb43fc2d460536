"""A fitted forecaster survives on disk, and a bad file does no harm."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analytics.forecast import PowerForecaster
from analytics.forecast.persistence import load, save
from domain.errors import ForecastError
from tests.unit.analytics.test_forecaster import hall_power


def rewritten(path: Path, **changes: object) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, change in changes.items():
        arrays[name.replace("__", ".")] = change
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[PowerForecaster, Path]:
    history = hall_power(25, tz="Asia/Taipei")
    job = pd.DataFrame({"job": np.arange(len(history)) % 7 > 3}, index=history.index).astype(float)
    forecaster = PowerForecaster(country="TW", lower=0.0, horizon="24h").fit(history, job)
    path = tmp_path_factory.mktemp("models") / "site.model"
    save(forecaster, path)
    return forecaster, path


def test_a_forecaster_that_was_read_forecasts_as_before(model: tuple[PowerForecaster, Path]) -> None:
    forecaster, path = model
    again = load(path)
    pd.testing.assert_frame_equal(again.predict(24), forecaster.predict(24), check_freq=False)
    assert again.get_params() == {**forecaster.get_params(), "known": []}
    assert again.provenance_ == forecaster.provenance_


def test_a_forecaster_that_was_read_takes_updates(model: tuple[PowerForecaster, Path]) -> None:
    path = model[1]
    newer = hall_power(27, tz="Asia/Taipei").iloc[-48:]
    again = load(path).update(newer)
    assert again.predict(2).index[0] == newer.index[-1] + pd.Timedelta("1h")


def test_a_short_history_is_kept_too(tmp_path: Path) -> None:
    forecaster = PowerForecaster().fit(hall_power(0.3, "5min"))
    save(forecaster, tmp_path / "m")
    pd.testing.assert_frame_equal(load(tmp_path / "m").predict(9), forecaster.predict(9), check_freq=False)


def test_no_half_written_file_stays(tmp_path: Path) -> None:
    save(PowerForecaster().fit(hall_power(0.3)), tmp_path / "m")
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_an_absent_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="no model can be read"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off", b"\x80\x04\x95cos\nsystem\n."])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ForecastError, match="fit anew"):
        load(tmp_path / "m")


def test_pickled_content_is_refused(tmp_path: Path, model: tuple[PowerForecaster, Path]) -> None:
    path = tmp_path / "m"
    path.write_bytes(model[1].read_bytes())
    rewritten(path, series=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(ForecastError, match="fit anew"):
        load(path)


def test_trees_that_run_in_circles_are_refused(tmp_path: Path, model: tuple[PowerForecaster, Path]) -> None:
    path = tmp_path / "m"
    path.write_bytes(model[1].read_bytes())
    members = model[0].members_
    assert members is not None
    rewritten(path, forest__day__left=np.zeros_like(members.forests["day"].left))
    with pytest.raises(ForecastError, match="fit together"):
        load(path)


def test_a_newer_format_is_refused(tmp_path: Path, model: tuple[PowerForecaster, Path]) -> None:
    path = tmp_path / "m"
    path.write_bytes(model[1].read_bytes())
    with np.load(path) as archive:
        header = json.loads(archive["header"].tobytes())
    header["format"] = 99
    rewritten(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    with pytest.raises(ForecastError, match="format 99"):
        load(path)
