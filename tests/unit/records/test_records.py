"""Records: what was written is there after a restart, from any thread, once."""

import contextlib
import math
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import create_engine, inspect, text

from domain.alert import AlertState, Condition, Severity
from domain.errors import InputError, StoreUnavailable
from domain.forecast import QUANTILES, Forecast
from domain.said import Said, Term
from domain.suppression import SuppressionKind
from storage import database, suppression_records
from storage.accounts import Accounts
from storage.alert_notes import MOST_NOTES
from storage.delivery_records import DeliveryStatus, Event, Told
from storage.records import Records

NOW = 1_790_000_000_000


def condition(rule="rack-leak", object_id="R017", value=1.0, severity=Severity.CRITICAL):
    return Condition(rule, object_id, severity, f"{object_id}: Leak", value, math.nan, "", NOW)


def forecast(issued=NOW, object_id="taipei-1", n=192):
    rng = np.random.default_rng(issued % 1000)
    return Forecast(
        object_id,
        "ActivePower",
        "W",
        issued,
        issued - 1000,
        15,
        issued + np.arange(n, dtype=np.int64) * 900_000,
        QUANTILES,
        np.sort(rng.normal(14e6, 5e5, (n, len(QUANTILES))), axis=1),
        np.where(np.arange(n) % 2 == 0, 16e6, np.nan),
        rng.random(n),
        "seasonal 1",
    )


def change(url, statement):
    engine = create_engine(url)
    with engine.begin() as db:
        db.exec_driver_sql(statement)
    engine.dispose()


def test_records_of_before_sentences_had_keys_are_taken_over_and_tell_their_english(tmp_path):
    url = f"sqlite:///{tmp_path}/records.sqlite"
    before = Records(url)
    before.open_alerts([condition()], NOW)
    before.close()
    change(url, "ALTER TABLE alerts DROP COLUMN said")
    records = Records(url)
    (old,) = records.active_alerts()
    assert (old.condition.summary, old.condition.told("zh-Hant")) == ("R017: Leak", "R017: Leak")
    said = Said.of("state", object="R018", state=Term("measured", "leak at a rack"))
    records.open_alerts([replace(condition(object_id="R018"), said=said)], NOW)
    _, new = sorted(records.active_alerts(), key=lambda a: a.id)
    assert new.condition.said == said
    assert new.condition.summary == "R018: leak at a rack"
    assert new.condition.told("zh-Hant") == "R018：機櫃漏液"
    change(url, """UPDATE alerts SET said = '{"said": "of a later release", "fields": {}}'""")
    assert {a.condition.told("zh-Hant") for a in records.active_alerts()} == {
        "R017: Leak",
        "R018: leak at a rack",
    }
    records.close()


def test_an_alert_goes_from_open_to_acknowledged_to_cleared_and_remembers_who(records):
    (alert,) = records.open_alerts([condition()], NOW)
    assert records.active_alerts() == [alert]
    taken = records.acknowledge_alert(alert.id, "mei", "on my way", NOW + 5)
    assert (taken.state, taken.acknowledged_by, taken.note) == (AlertState.ACKNOWLEDGED, "mei", "on my way")
    (cleared,) = records.clear_alerts([alert.id], NOW + 9)
    assert cleared.cleared_at == NOW + 9
    assert records.active_alerts() == []
    assert [(s.state, s.at, s.who) for s in records.transitions(alert.id)] == [
        (AlertState.OPEN, NOW, ""),
        (AlertState.ACKNOWLEDGED, NOW + 5, "mei"),
        (AlertState.CLEARED, NOW + 9, ""),
    ]


def test_one_rule_has_one_active_alert_on_an_object_and_a_new_one_after_it_cleared(records):
    (first,) = records.open_alerts([condition()], NOW)
    with pytest.raises(InputError, match="already"):
        records.open_alerts([condition()], NOW + 1)
    records.clear_alerts([first.id], NOW + 2)
    (second,) = records.open_alerts([condition()], NOW + 3)
    assert [a.id for a in records.alert_history()] == [second.id, first.id]


def test_a_missing_figure_comes_back_as_nan(records):
    (alert,) = records.open_alerts([condition(value=math.nan)], NOW)
    kept = records.alert(alert.id).condition
    assert math.isnan(kept.value)
    assert math.isnan(kept.limit)


def test_a_cleared_or_unknown_alert_cannot_be_acknowledged(records):
    (alert,) = records.open_alerts([condition()], NOW)
    records.clear_alerts([alert.id], NOW)
    with pytest.raises(InputError, match="cleared already"):
        records.acknowledge_alert(alert.id, "mei", "", NOW)
    with pytest.raises(InputError, match="no alert 99"):
        records.acknowledge_alert(99, "mei", "", NOW)


def test_history_is_found_by_time_object_and_rule(records):
    records.open_alerts([condition(object_id=f"R{n:03d}") for n in range(1, 5)], NOW)
    records.open_alerts([condition(rule="gpu-hot", object_id="R001")], NOW + 10)
    assert len(records.alert_history(object_id="R001")) == 2
    assert len(records.alert_history(rule="gpu-hot")) == 1
    assert len(records.alert_history(start=NOW + 1)) == 1
    assert len(records.alert_history(end=NOW + 1)) == 4
    assert len(records.alert_history(limit=3)) == 3


def test_a_change_of_severity_is_a_transition_and_a_change_of_value_is_not(records):
    (alert,) = records.open_alerts([condition(severity=Severity.WARNING)], NOW)
    records.update_alerts([(alert.id, condition(value=2.0, severity=Severity.WARNING))], NOW + 1)
    assert len(records.transitions(alert.id)) == 1
    records.update_alerts([(alert.id, condition(value=3.0))], NOW + 2)
    assert [s.severity for s in records.transitions(alert.id)] == [Severity.WARNING, Severity.CRITICAL]
    assert records.alert(alert.id).condition.value == 3.0


def test_an_event_is_queued_once_per_channel_and_outlives_a_restart(records, url):
    (alert,) = records.open_alerts([condition()], NOW)
    wanted = [(alert.id, Event.OPENED, "mail", NOW), (alert.id, Event.OPENED, "hook", NOW + 10)]
    assert records.queue_deliveries(wanted, NOW) == 2
    assert records.queue_deliveries(wanted, NOW) == 0
    records.close()
    again = Records(url)
    ((mail, about),) = again.due_deliveries(NOW, "mail")
    assert (mail.channel, about.id) == ("mail", alert.id)
    again.finish_deliveries([mail.id], DeliveryStatus.DELIVERED, NOW + 1, attempts=1)
    assert again.due_deliveries(NOW, "mail") == again.due_deliveries(NOW, "hook") == []
    assert [d.channel for d, _ in again.due_deliveries(NOW + 10, "hook")] == ["hook"]
    assert again.told() == {
        alert.id: Told(frozenset({Event.OPENED}), Severity.CRITICAL, frozenset({"mail", "hook"}))
    }
    again.close()


def test_a_postponed_delivery_comes_back_when_it_is_due_and_counts_its_attempts(records):
    (alert,) = records.open_alerts([condition()], NOW)
    records.queue_deliveries([(alert.id, Event.OPENED, "mail", NOW)], NOW)
    ((delivery, _),) = records.due_deliveries(NOW, "mail")
    records.postpone_deliveries([delivery.id], NOW + 60_000, 3, "connection refused")
    assert records.due_deliveries(NOW, "mail") == []
    ((later, _),) = records.due_deliveries(NOW + 60_000, "mail")
    assert (later.attempts, later.detail) == (3, "connection refused")


def test_so_many_pages_of_a_channel_are_looked_at_the_worst_first(records):
    alerts = records.open_alerts(
        [condition(object_id=f"R{n:03}", severity=Severity.WARNING) for n in range(30)]
        + [condition(object_id="R099")],
        NOW,
    )
    records.queue_deliveries([(a.id, Event.OPENED, c, NOW) for a in alerts for c in ("mail", "hook")], NOW)
    due = records.due_deliveries(NOW, "mail", most=10)
    assert [d.channel for d, _ in due] == ["mail"] * 10
    assert [a.condition.object_id for _, a in due][:2] == ["R099", "R000"]
    records.finish_deliveries([d.id for d, _ in due], DeliveryStatus.DELIVERED, NOW)
    assert len(records.due_deliveries(NOW, "mail")) == 21
    assert len(records.due_deliveries(NOW, "hook")) == 31


def test_what_waits_for_a_channel_that_is_gone_is_given_up_with_its_reason(records):
    (alert,) = records.open_alerts([condition()], NOW)
    records.queue_deliveries([(alert.id, Event.OPENED, c, NOW + 10) for c in ("mail", "pager")], NOW)
    assert records.give_up_deliveries(["mail"], NOW, "gone") == 1
    assert [(d.channel, d.status, d.detail) for d in records.deliveries(alert.id)] == [
        ("mail", DeliveryStatus.PENDING, ""),
        ("pager", DeliveryStatus.FAILED, "gone"),
    ]


def test_there_are_so_many_suppressions_and_one_more_is_refused_with_what_to_do(records, monkeypatch):
    monkeypatch.setattr(suppression_records, "MOST_SUPPRESSIONS", 3)
    window = SuppressionKind.MAINTENANCE, "*", "R001", NOW, NOW + 60_000, "mei", "hoses"
    for _ in range(3):
        made = records.add_suppression(*window)
    with pytest.raises(InputError, match="hallwatch alerts resume"):
        records.add_suppression(*window)
    records.end_suppression(made.id, NOW)
    records.add_suppression(*window)


def test_notes_on_an_alarm_are_bounded_and_the_newest_stay(records):
    (alert,) = records.open_alerts([condition()], NOW)
    for n in range(MOST_NOTES + 5):
        records.add_alert_note(alert.id, "mei", f"note {n}", NOW + n)
    notes = records.alert_notes("rack-leak", "R017")
    assert [n.note for n in notes] == [f"note {n}" for n in range(5, MOST_NOTES + 5)]
    assert records.newest_notes(["R017"])["rack-leak", "R017"].note == f"note {MOST_NOTES + 4}"


def test_connections_to_the_records_are_bounded_and_who_waits_too_long_is_told(url, monkeypatch):
    monkeypatch.setitem(database.POOL, "pool_timeout", 0.05)
    records = Records(url)
    with contextlib.ExitStack() as held:
        for _ in range(database.CONNECTIONS):
            held.enter_context(records.reading())
        with pytest.raises(StoreUnavailable, match="15 connections are in use"):
            records.active_alerts()
    assert records.active_alerts() == []
    records.close()


def test_a_suppression_covers_its_rule_object_and_time_only(records):
    window = SuppressionKind.MAINTENANCE, "rack-*", "R01?", NOW, NOW + 100, "mei", "hoses"
    made = records.add_suppression(*window)
    assert made.covers(condition())
    assert not made.covers(condition(object_id="R021"))
    assert not made.covers(condition(rule="gpu-hot"))
    assert made.holds(NOW)
    assert not made.holds(NOW - 1)
    assert not made.holds(NOW + 100)
    assert records.suppressions() == [made]
    records.end_suppression(made.id, NOW + 10, "ann", "done early")
    assert records.suppressions() == []
    (ended,) = records.suppressions(ended_since=NOW)
    assert (ended.ended, ended.ended_by, ended.ended_why) == (NOW + 10, "ann", "done early")
    with pytest.raises(InputError, match="end after"):
        records.add_suppression(SuppressionKind.MAINTENANCE, "*", "*", NOW, NOW, "mei", "")


def test_a_forecast_comes_back_as_it_was_issued_and_all_are_kept(records):
    older, newer = forecast(NOW), forecast(NOW + 900_000)
    records.save_forecast(newer)
    records.save_forecast(older)
    kept = records.latest_forecast("taipei-1", "ActivePower")
    for name in ("start", "limit"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(newer, name))
    np.testing.assert_allclose(kept.values, newer.values, rtol=1e-6)
    np.testing.assert_allclose(kept.breach_probability, newer.breach_probability, atol=1e-5)
    for name in Forecast.__dataclass_fields__:
        if name not in ("start", "values", "limit", "breach_probability", "seal"):
            assert getattr(kept, name) == getattr(newer, name)
    issued = [f.issued for f in records.forecasts("taipei-1", "ActivePower", 0, NOW + 10**9)]
    assert issued == [NOW, NOW + 900_000]
    assert records.latest_forecast("R001", "RackPower") is None


def test_a_forecast_saved_by_another_process_is_seen(records, url):
    records.save_forecast(forecast(NOW))
    assert records.latest_forecast("taipei-1", "ActivePower").issued == NOW
    other = Records(url)
    other.save_forecast(forecast(NOW + 1))
    other.close()
    assert records.latest_forecast("taipei-1", "ActivePower").issued == NOW + 1


def test_many_threads_write_at_once_and_nothing_is_lost(records):
    failures = []

    def work(n):
        try:
            for i in range(20):
                (alert,) = records.open_alerts([condition(object_id=f"T{n}-{i}")], NOW)
                records.acknowledge_alert(alert.id, "mei", "", NOW)
                records.audit(f"thread {n}", "wrote", str(i))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(records.active_alerts()) == 120
    assert len(records.audit_trail()) == 120


def test_the_audit_trail_tells_who_did_what_newest_first(records):
    records.audit("mei", "login")
    records.audit("mei", "acknowledge", "alert 7")
    assert [(e.who, e.what, e.detail) for e in records.audit_trail()] == [
        ("mei", "acknowledge", "alert 7"),
        ("mei", "login", ""),
    ]


@pytest.mark.parametrize("url", ["not a url", "nosuch://x/y", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_serve_is_refused_with_a_remedy(url):
    with pytest.raises(InputError, match=r"name a file|write one such as"):
        Records(url)


def test_records_of_another_schema_version_are_refused(records, url):
    with records.writing() as db:
        db.exec_driver_sql("UPDATE schema_version SET version = 99")
    with pytest.raises(InputError, match="schema version 99"):
        Records(url)


def test_whoever_was_told_that_it_opened_is_told_that_it_cleared(records):
    told, untold = records.open_alerts([condition(), condition(object_id="R018")], NOW)
    records.queue_deliveries([(told.id, Event.OPENED, "mail", NOW)], NOW)
    records.clear_alerts([told.id, untold.id], NOW + 5)
    due = [(d.alert_id, d.event, d.channel) for d, _ in records.due_deliveries(NOW + 5, "mail")]
    assert due == [(told.id, Event.CLEARED, "mail")]
    assert [d.status for d in records.deliveries(told.id)] == [
        DeliveryStatus.SUPERSEDED,
        DeliveryStatus.PENDING,
    ]


def test_a_worse_severity_is_queued_again_and_remembered_as_told(records):
    (alert,) = records.open_alerts([condition(severity=Severity.INFO)], NOW)
    records.queue_deliveries([(alert.id, Event.OPENED, "mail", NOW)], NOW)
    for severity in (Severity.WARNING, Severity.CRITICAL):
        records.update_alerts([(alert.id, condition(severity=severity))], NOW)
        assert records.queue_deliveries([(alert.id, Event.WORSENED, "mail", NOW)], NOW) == 1
        records.finish_deliveries(
            [d.id for d, _ in records.due_deliveries(NOW, "mail")], DeliveryStatus.DELIVERED, NOW
        )
        assert records.told()[alert.id].severity == severity


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no folder can be made"):
        Records(f"sqlite:///{tmp_path}/file/records.sqlite")


def test_an_index_that_is_new_is_made_in_records_that_are_there_already(records, url):
    with records.writing() as db:
        db.execute(text("DROP INDEX forecasts_issued"))
    again = Records(url)
    try:
        assert "forecasts_issued" in {i["name"] for i in inspect(again.engine).get_indexes("forecasts")}
    finally:
        again.close()


def test_who_looks_in_from_outside_leaves_the_log_of_the_running_service_alone(tmp_path):
    file = tmp_path / "records.sqlite"
    look = f"import sqlite3; print(sqlite3.connect({str(file)!r}).execute('select count(*) from audit').fetchone()[0])"

    def seen():
        return int(subprocess.run([sys.executable, "-c", look], capture_output=True, check=True).stdout)

    service = Records(f"sqlite:///{file}")
    service.audit("mei", "began")
    of_alerts = Records(f"sqlite:///{file}")  # a second one, as the service has for alerting
    assert seen() == 1
    assert file.with_name("records.sqlite-wal").exists()
    service.audit("mei", "went on")
    of_alerts.audit("mei", "and on")
    assert seen() == 3
    service.close()
    of_alerts.close()
    again = Records(f"sqlite:///{file}")
    assert len(again.audit_trail()) == 3
    again.close()


def test_people_and_keys_are_known_again_and_a_name_is_taken_once(records):
    accounts = Accounts(records)
    accounts.add_user("mei", "correct horse")
    with pytest.raises(InputError, match="mei"):
        accounts.add_user("mei", "battery staple")
    assert accounts.verify_password("mei", "correct horse").name == "mei"
    key, _ = accounts.add_api_key("utility")
    assert accounts.verify_api_key(key).partner == "utility"
    assert [entry.what for entry in records.audit_trail()][:1] == ["made API key"]
