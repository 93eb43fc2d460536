"""What both detectors promise: scikit-learn manners, causality, clear errors, one episode one alarm."""

import inspect

import numpy as np
import pandas as pd
import pytest

from analytics.anomaly import CoolingLoopDetector, StreamDetector
from domain.errors import InputError

DETECTORS = [CoolingLoopDetector, StreamDetector]
ROWS, TRAIN = 1500, 800


def loop_frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = np.arange(ROWS)
    return pd.DataFrame(
        {
            "Flow [L/min]": 120 + rng.normal(0, 1.0, ROWS),
            "PumpVibration": 2 + rng.normal(0, 0.05, ROWS),
            "Pump current": 11 + rng.normal(0, 0.2, ROWS),
            "SupplyTemperature": 32 + 0.8 * np.sin(t / 200) + rng.normal(0, 0.02, ROWS),
        },
        index=pd.date_range("2026-03-01", periods=ROWS, freq="s", name="time"),
    )


def stream_frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2026-03-01", periods=ROWS, freq="5min"),
            "value": 50 + 5 * np.sin(np.arange(ROWS) / 45) + rng.normal(0, 0.5, ROWS),
        }
    )


def frame_for(detector: type, seed: int = 0) -> pd.DataFrame:
    return loop_frame(seed) if detector is CoolingLoopDetector else stream_frame(seed)


def signal_of(detector: type) -> str:
    return "Flow [L/min]" if detector is CoolingLoopDetector else "value"


def with_fault(detector: type, start: int = 1100, rows: int = 150) -> pd.DataFrame:
    frame = frame_for(detector)
    signal = signal_of(detector)
    frame.loc[frame.index[start : start + rows], signal] -= 30.0
    return frame


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame.iloc[:TRAIN], frame.iloc[TRAIN:]


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_constructor_only_stores(detector):
    names = list(inspect.signature(detector).parameters)
    made = detector()
    assert sorted(vars(made)) == sorted(names)


@pytest.mark.parametrize("detector", DETECTORS)
def test_what_is_learned_ends_in_an_underscore_and_fit_returns_the_detector(detector):
    made = detector()
    before = dict(vars(made))
    assert made.fit(frame_for(detector).iloc[:TRAIN]) is made
    learned = set(vars(made)) - set(before)
    assert learned
    assert all(name.endswith("_") for name in learned)
    assert {k: vars(made)[k] for k in before} == before


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_healthy_series_scores_below_one_nearly_everywhere(detector):
    train, test = split(frame_for(detector))
    assert (detector().fit(train).score(test) > 1).mean() < 0.02


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_fault_scores_above_one_while_it_lasts_and_is_one_alarm(detector):
    train, test = split(with_fault(detector))
    made = detector().fit(train)
    score = made.score(test)
    during = score.iloc[300:450]
    assert (during > 1).mean() > 0.9
    found = made.explain(test)
    assert (found["start"] >= test.index[300]).all()
    assert len(found) == 1


def test_the_stream_detector_alarms_once_an_episode_and_the_loop_detector_on_every_row():
    train, test = split(with_fault(StreamDetector))
    alarms = StreamDetector().fit(train).predict(test)
    assert set(alarms.unique()) == {0, 1}
    assert alarms.sum() == 1
    train, test = split(with_fault(CoolingLoopDetector))
    made = CoolingLoopDetector().fit(train)
    assert (made.predict(test) == (made.score(test) > 1)).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_scores_do_not_change_when_the_future_is_removed(detector):
    train, test = split(with_fault(detector))
    made = detector().fit(train)
    pd.testing.assert_series_equal(made.score(test).iloc[:333], made.score(test.iloc[:333]))
    pd.testing.assert_series_equal(made.predict(test).iloc[:333], made.predict(test.iloc[:333]))


@pytest.mark.parametrize("detector", DETECTORS)
def test_scoring_remembers_nothing_and_the_same_data_gives_the_same_scores(detector):
    train, test = split(with_fault(detector))
    first, second = detector().fit(train), detector().fit(train)
    once = first.score(test)
    pd.testing.assert_series_equal(once, first.score(test))
    pd.testing.assert_series_equal(once, second.score(test))
    assert once.index.equals(test.index)


@pytest.mark.parametrize("detector", DETECTORS)
def test_contributions_name_the_signals_and_make_up_the_score(detector):
    train, test = split(with_fault(detector))
    made = detector().fit(train)
    parts = made.contributions(test)
    whole = parts.max(axis=1) if detector is CoolingLoopDetector else parts.sum(axis=1)
    np.testing.assert_allclose(whole, made.score(test))
    expected = "Flow [L/min]" if detector is CoolingLoopDetector else "level"
    assert expected in made.explain(test)["signals"].iloc[0]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("level", [0.0, 0.1, 1e8, -3e-7])
def test_a_constant_series_is_usual_and_a_change_of_it_is_not(detector, level):
    frame = frame_for(detector)
    signal = signal_of(detector)
    frame[signal] = level
    train, test = split(frame)
    made = detector().fit(train)
    flat = made.contributions(test)
    flat = flat[signal] if detector is CoolingLoopDetector else flat.sum(axis=1)
    assert (flat <= 1).all()
    changed = test.copy()
    changed.loc[changed.index[100:], signal] = 1.2 * level + (1.0 if level == 0 else 0.0)
    score = made.score(changed)
    assert np.isfinite(score).all()
    assert (score.iloc[100:130] > 1).any()


@pytest.mark.parametrize("detector", DETECTORS)
def test_gaps_and_infinities_give_finite_scores_and_no_alarm(detector):
    frame = frame_for(detector)
    signal = signal_of(detector)
    frame.loc[frame.index[100:140], signal] = np.nan
    frame.loc[frame.index[1000:1060], signal] = np.nan
    frame.loc[frame.index[1100:1103], signal] = np.inf
    train, test = split(frame)
    score = detector().fit(train).score(test)
    assert np.isfinite(score).all()
    assert (score.iloc[195:305] > 1).mean() < 0.05


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_gap_within_a_fault_does_not_clear_it(detector):
    frame = with_fault(detector)
    frame.loc[frame.index[1140:1160], signal_of(detector)] = np.nan
    train, test = split(frame)
    assert (detector().fit(train).score(test).iloc[340:360] > 1).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_an_empty_frame_scores_to_an_empty_series(detector):
    train, _ = split(frame_for(detector))
    made = detector().fit(train)
    assert made.score(train.iloc[:0]).empty
    assert made.predict(train.iloc[:0]).empty
    assert made.explain(train.iloc[:0]).empty


@pytest.mark.parametrize("detector", DETECTORS)
def test_bad_input_is_told_what_where_and_what_to_do(detector):
    frame = frame_for(detector)
    train, test = split(frame)
    with pytest.raises(InputError, match="call fit first"):
        detector().score(test)
    with pytest.raises(InputError, match="training has 5"):
        detector().fit(train.iloc[:5])
    with pytest.raises(InputError, match="DataFrame"):
        detector().fit(train.to_numpy())
    made = detector().fit(train)
    with pytest.raises(InputError, match="unknown to the training: extra"):
        made.score(test.assign(extra=1.0))
    with pytest.raises(InputError, match="absent"):
        made.score(test.drop(columns=signal_of(detector)).assign(other=1.0))
    with pytest.raises(InputError, match="quantile"):
        detector(quantile=0.0).fit(train)
    with pytest.raises(InputError, match="unique"):
        detector().fit(pd.concat([train, train], axis=1))
    with pytest.raises(InputError, match="no numeric column"):
        detector().fit(pd.DataFrame({"name": ["a", "b"]}))


def test_integer_and_nullable_columns_are_signals():
    frame = loop_frame().round().astype("Int64")
    frame.iloc[900, 0] = pd.NA
    train, test = split(frame)
    assert np.isfinite(CoolingLoopDetector().fit(train).score(test)).all()


def test_the_series_is_the_value_column_the_only_one_or_the_one_that_is_named():
    frame = stream_frame()
    train, test = split(frame)
    reference = StreamDetector().fit(train).score(test)
    renamed = frame.rename(columns={"value": "rack power"})
    np.testing.assert_array_equal(
        StreamDetector().fit(renamed.iloc[:TRAIN]).score(renamed.iloc[TRAIN:]), reference
    )
    two = renamed.assign(noise=1.0)
    with pytest.raises(InputError, match="value="):
        StreamDetector().fit(two.iloc[:TRAIN])
    named = StreamDetector(value="rack power").fit(two.iloc[:TRAIN])
    np.testing.assert_array_equal(named.score(two.iloc[TRAIN:]), reference)


def test_roles_come_from_names_from_drift_or_from_the_user():
    frame = loop_frame()
    made = CoolingLoopDetector().fit(frame.iloc[:TRAIN])
    assert [r.name for r in made.roles_.values()] == ["hydraulic", "vibration", "electrical", "thermal"]
    blind = frame.set_axis(["a", "b", "c", "d"], axis=1)
    made = CoolingLoopDetector(roles={"a": "hydraulic"}).fit(blind.iloc[:TRAIN])
    assert [r.name for r in made.roles_.values()] == ["hydraulic", "other", "other", "thermal"]
    with pytest.raises(InputError, match="no such role: wet"):
        CoolingLoopDetector(roles={"a": "wet"}).fit(blind)
    with pytest.raises(InputError, match="not in the frame: z"):
        CoolingLoopDetector(roles={"z": "thermal"}).fit(blind)


def test_a_signal_that_was_silent_in_training_is_named_as_ignored():
    frame = loop_frame().assign(dead=np.nan)
    made = CoolingLoopDetector().fit(frame.iloc[:TRAIN])
    assert made.ignored_ == ["dead"]
    assert "dead" not in made.contributions(frame.iloc[TRAIN:])


def test_slow_drift_of_a_temperature_is_followed_and_raises_no_alarm():
    frame = loop_frame()
    frame["SupplyTemperature"] += np.linspace(0, 3.0, ROWS)
    train, test = split(frame)
    parts = CoolingLoopDetector().fit(train).contributions(test)
    assert parts["SupplyTemperature"].max() < 0.5


def varying_load(rows: int = ROWS) -> pd.DataFrame:
    """A loop whose flow follows its power over the whole range."""
    rng = np.random.default_rng(4)
    power = np.repeat(rng.uniform(30, 120, rows // 50), 50) * 1e3
    return pd.DataFrame(
        {
            "Power": power * rng.normal(1, 0.003, rows),
            "Flow": 1.2e-3 * power * rng.normal(1, 0.005, rows),
            "ReturnTemp": 44 + rng.normal(0, 0.1, rows),
        }
    )


def test_a_flow_that_follows_power_is_judged_by_what_power_leaves_unexplained():
    train, test = split(varying_load())
    made = CoolingLoopDetector().fit(train)
    assert made.relations_.related.tolist() == [True, True, False]
    assert made.predict(test).sum() == 0
    test = test.copy()
    test.loc[test.index[300:450], "Flow"] *= 0.8  # well within the range of the training
    predicted = made.predict(test)
    assert predicted.iloc[:300].sum() == 0
    assert predicted.iloc[310:450].mean() > 0.9


def test_signals_that_merely_drift_together_are_not_related():
    rng = np.random.default_rng(5)
    ramp = np.linspace(0, 1, ROWS)
    frame = pd.DataFrame({name: 10 + ramp + rng.normal(0, 0.05, ROWS) for name in ("a", "b", "c")})
    assert not CoolingLoopDetector().fit(frame.iloc[:TRAIN]).relations_.related.any()


def daily_frame(days: int = 80, rows: int = 96) -> pd.DataFrame:
    """A rhythm of the day with a plateau at noon, from which the long-run mean is far."""
    rng = np.random.default_rng(3)
    hour = np.arange(days * rows) % rows / rows * 24
    busy = np.where((hour > 8) & (hour < 18), 100.0, 20.0)
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2026-03-02", periods=days * rows, freq="15min"),
            "value": busy + rng.normal(0, 1.0, days * rows),
        }
    )


def test_a_standstill_at_noon_is_seen_where_the_times_are_known():
    frame = daily_frame()
    noon = slice(70 * 96 + 48, 70 * 96 + 56)
    frame.loc[frame.index[noon], "value"] -= 80.0  # as low as every night, but not at this time
    train, test = frame.iloc[: 60 * 96], frame.iloc[60 * 96 :]
    made = StreamDetector().fit(train)
    assert made.day_ == 96
    alarms = made.predict(test)
    assert alarms.sum() == 1
    assert noon.start <= alarms.idxmax() < noon.stop
    blind = StreamDetector().fit(train[["value"]])
    assert blind.day_ == 0
    assert blind.predict(test[["value"]]).loc[noon].sum() == 0


def test_a_rhythm_is_used_only_where_it_foretells_better():
    rng = np.random.default_rng(6)
    noise = daily_frame(30).assign(value=rng.normal(0, 1.0, 30 * 96))
    train, test = noise.iloc[: 15 * 96], noise.iloc[15 * 96 :]
    pd.testing.assert_frame_equal(
        StreamDetector().fit(train).contributions(test),
        StreamDetector().fit(train[["value"]]).contributions(test[["value"]]),
    )


def test_what_stays_becomes_usual_what_gets_worse_alarms_again_and_what_goes_away_does_not():
    rng = np.random.default_rng(7)
    values = rng.normal(100, 1.0, 6000)
    values[2000:2600] += 20.0
    values[2300:2600] += 40.0  # worse
    values[4000:] += 150.0  # stays
    frame = pd.DataFrame({"value": values})
    made = StreamDetector().fit(frame.iloc[:1000])
    alarms = made.predict(frame.iloc[1000:])
    begun = alarms.index[alarms == 1].to_numpy()
    assert len(begun) == 3
    assert (np.abs(begun - np.array([2000, 2300, 4000])) <= 10).all()
    score = made.score(frame.iloc[1000:])
    assert (score.loc[2010:2590] > 1).all()
    assert (score.loc[2700:3990] < 1).all()
    assert (score.loc[5200:] < 1).all()


def test_the_stream_detector_stays_quiet_on_series_without_faults():
    rng = np.random.default_rng(8)
    t = np.arange(11_000)
    for values in (
        rng.normal(size=len(t)),
        10 * np.sin(2 * np.pi * t / 288) + rng.normal(size=len(t)),
        rng.normal(size=len(t)).cumsum(),
    ):
        frame = pd.DataFrame(
            {"timestamp": pd.date_range("2026-03-01", periods=len(t), freq="5min"), "value": values}
        )
        assert StreamDetector().fit(frame.iloc[:1000]).predict(frame.iloc[1000:]).sum() <= 8


def test_the_public_benchmarks_hold_with_the_detectors_as_shipped(testdata):
    from benchmarks.anomaly import public_data

    figures = {name: f["value"] for name, f in public_data(testdata, references=False)[0].items()}
    assert figures["skab_f1"] >= 0.79
    assert figures["skab_far"] <= 22
    assert figures["skab_mar"] <= 22
    assert figures["nab_standard"] >= 68
    families = {path.parent.name for path in (testdata / "datasets" / "nab").rglob("*.csv")}
    assert all(figures[f"nab_{name}"] >= 50 for name in families)
    assert figures["check_causal"] == len(list((testdata / "datasets" / "nab").rglob("*.csv")))


def test_the_detectors_hold_on_families_that_had_no_say_in_choosing_them(testdata):
    from benchmarks._families import LIMITS, loop_folders, reference_families, stream_families
    from benchmarks.anomaly import load_scorer

    scorer, data = load_scorer(testdata), testdata / "datasets"
    menu = [{"quantile": 0.995, "quiet": 80, "limit": limit} for limit in LIMITS[1:6]]
    found = stream_families(scorer, data / "nab", menu)
    assert found["all"] >= 62
    assert min(got["score"] for got in found["families"].values()) >= 45
    simple = reference_families(scorer, scorer.nab_run(data / "nab", scorer.nab_windowed_gaussian))
    assert found["all"] > simple["all"]
    loop = loop_folders(scorer, data / "skab", [{"window": 15}, {"window": 20}, {"window": 30}])["all"]
    assert loop["F1"] >= 0.78
    assert max(loop["FAR"], loop["MAR"]) <= 22
