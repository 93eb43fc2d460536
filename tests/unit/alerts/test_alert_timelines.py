"""Alerts told as timelines: these readings at these times, those pages in that window."""

import asyncio
from dataclasses import replace

import pytest

from alerts.actions import acknowledge, retire
from domain.alert import AlertState, Severity
from domain.errors import InputError, StorageError
from domain.points import Quality
from storage.delivery_records import DeliveryStatus

LEAK = {
    "name": "leak",
    "kind": "state",
    "points": ["RackLeakDetect"],
    "normal": ["NoLeak"],
    "severity": "critical",
}
STATES = ((0, "NoLeak"), (1, "Leak"))
HOT = {
    "name": "hot",
    "kind": "limit",
    "points": ["GpuTemperature"],
    "above": "gpu",
    "hysteresis": 3,
    "for": "30 s",
    "keep_firing_for": "60 s",
    "per": "associate",
    "severity": "critical",
}


def leak_lab(lab, **more):
    plant = lab(LEAK, **more)
    sensors = [plant.point("Rack", "RackLeakDetect", f"R00{n}", states=STATES) for n in range(1, 5)]
    plant.read(sensors, 0)
    return plant, sensors


def hot_lab(lab, **more):
    plant = lab({**HOT, **more})
    gpus = [
        plant.point("GPU", "GpuTemperature", f"R001-T01-G{n}", unit="Cel", associate="R001") for n in range(4)
    ]
    return plant, gpus


def test_a_leak_is_paged_once_acknowledged_and_cleared_when_it_is_dry(lab):
    plant, sensors = leak_lab(lab)
    assert plant.step() == []
    plant.at(10).read(sensors[1], 1)
    assert plant.step() == [("opened", "leak/R002")]
    assert plant.at(12).step() == []
    alert = plant.active["leak/R002"]
    assert alert.condition.summary == "R002: leak at a rack"
    assert (alert.condition.value, alert.condition.limit) == (1.0, 0.0)

    taken = plant.acknowledge("leak/R002", "on my way")
    assert taken.state is AlertState.ACKNOWLEDGED
    assert plant.at(14).step() == []
    plant.at(60).read(sensors[1], 0)
    assert plant.step() == [("cleared", "leak/R002")]
    assert plant.active == {}
    assert [t.state.value for t in plant.records.transitions(alert.id)] == ["open", "acknowledged", "cleared"]
    assert [e.what for e in plant.records.audit_trail()] == ["acknowledged alert"]


def test_abnormal_states_alert_and_words_that_nobody_listed_do_not(lab):
    plant = lab(
        {
            "name": "ups-on-battery",
            "kind": "state",
            "points": ["Status"],
            "object_types": ["UPS"],
            "abnormal": ["on battery"],
            "severity": "critical",
        }
    )
    words = ((2, "on line"), (3, "On Battery"), (9, "eco"))
    ups = [plant.point("UPS", "Status", f"UPS-A{n}", states=words) for n in range(1, 3)]
    plant.read(ups, 2)
    plant.read(ups[0], 9)
    assert plant.step() == []
    plant.at(10).read(ups[1], 3)
    assert plant.step() == [("opened", "ups-on-battery/UPS-A2")]
    assert plant.active["ups-on-battery/UPS-A2"].condition.summary.startswith("UPS-A2: On Battery")
    plant.at(20).read(ups[1], 2)
    assert plant.step() == [("cleared", "ups-on-battery/UPS-A2")]


def test_a_leak_sensor_that_falls_silent_or_turns_bad_clears_nothing(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    assert plant.step() == [("opened", "leak/R001")]
    plant.at(10).read(sensors[0], 0, Quality.BAD)
    assert plant.step() == []
    assert plant.at(3600).step() == []
    assert "leak/R001" in plant.active
    plant.read(sensors[0], 0)
    assert plant.step() == [("cleared", "leak/R001")]


def test_a_leak_that_came_and_went_between_two_looks_is_told(lab):
    plant, sensors = leak_lab(lab)
    assert plant.step() == []
    plant.at(1).read(sensors[1], 1)
    plant.read(sensors[1], 0)
    assert plant.at(2).step() == [("opened", "leak/R002")]
    assert plant.active["leak/R002"].condition.summary == "R002: leak at a rack"
    assert plant.at(4).step() == [("cleared", "leak/R002")]


def test_a_leak_of_a_second_in_every_two_is_one_alert_for_as_long_as_it_goes_on(lab):
    plant = lab({**LEAK, "keep_firing_for": "60 s"})
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    plant.read(sensor, 0)
    told = plant.step()
    for second in range(2, 300, 2):
        plant.at(second - 1).read(sensor, 1)
        plant.at(second - 0.2).read(sensor, 0)
        told += plant.at(second).step()
    assert told == [("opened", "leak/R001")]
    assert plant.at(358).step() == [("cleared", "leak/R001")]


def test_a_state_that_must_hold_for_a_while_is_not_found_for_a_moment(lab):
    plant = lab({**LEAK, "for": "10 s"})
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    for second in range(0, 60, 2):
        plant.at(second).read(sensor, 1)
        plant.read(sensor, 0)
        assert plant.step() == []


def test_a_leak_seen_for_a_moment_while_nothing_can_be_written_is_written_down_later(lab):
    plant, sensors = leak_lab(lab)
    plant.step()
    plant.read(sensors[1], 1)
    plant.read(sensors[1], 0)
    seen = plant.at(2).engine.look(plant.now)
    plant.engine.tell_early(seen)  # as while the records are locked
    asyncio.run(plant.deliver())
    assert plant.mail.take() == [("opened", "leak/R002")]
    later = plant.at(4).engine.look(plant.now)
    plant.engine.keep(later)
    plant.engine._written_down(later)
    assert [a.condition.key for a in plant.records.alert_history()] == ["leak/R002"]
    asyncio.run(plant.deliver())
    assert plant.step() == [("cleared", "leak/R002")]


def test_a_short_excursion_alerts_nobody_and_a_long_one_alerts_once(lab):
    plant, gpus = hot_lab(lab)
    plant.at(0).read(gpus, [60, 60, 95, 60])
    assert plant.step() == []
    plant.at(20).read(gpus, 60)
    assert plant.step() == []
    plant.at(30).read(gpus, [60, 60, 95, 60])
    assert plant.step() == []
    plant.at(59).read(gpus, [60, 60, 95, 60])
    assert plant.step() == []
    plant.at(60).read(gpus, [60, 60, 95.2, 60])
    assert plant.step() == [("opened", "hot/R001")]
    assert plant.active["hot/R001"].condition.summary == (
        "R001: GPU core temperature of R001-T01-G2 is 95.2 °C, limit 87.0 °C"
    )


def test_a_value_that_swings_about_the_limit_does_not_flap(lab):
    plant, gpus = hot_lab(lab)
    told = []
    for second in range(0, 600, 2):
        plant.at(second).read(
            gpus, 88 if second % 8 < 6 or second < 40 else 85
        )  # 85 is within the hysteresis
        told += plant.step()
    assert told == [("opened", "hot/R001")]
    for second in range(600, 700, 2):
        plant.at(second).read(gpus, 80)
        told += plant.step()
        if second < 658:
            assert len(told) == 1
    assert told == [("opened", "hot/R001"), ("cleared", "hot/R001")]


def test_our_clock_being_set_back_makes_no_alert_wait_for_its_time_to_come_again(lab):
    plant, gpus = hot_lab(lab)
    plant.at(3600).read(gpus, 90)
    assert plant.step() == []
    for second in range(0, 40, 2):
        plant.latest.shift(0 if second else -3600_000)
        plant.at(second).read(gpus, 90)
        told = plant.step()
        assert told == ([("opened", "hot/R001")] if second == 30 else [])


def test_the_highest_value_of_the_day_is_no_present_one_but_each_instrument_counts(lab):
    limit = {"name": "warm", "kind": "limit", "points": ["AirTemperature"], "above": "40 Cel", "for": "0 s"}
    plant = lab(limit | {"severity": "warning"})

    def tag(name):
        key = f"CRAH/AirTemperature/d/C1/{name}"
        return plant.point("CRAH", "AirTemperature", "C1", unit="Cel", key=key)

    present, beside, highest = (tag(name) for name in ("Temp1", "Temp2", "TempMax"))
    plant.read([present, beside], 25)
    plant.read(highest, 55)
    assert plant.step() == []
    plant.at(10).read(beside, 41)
    assert plant.step() == [("opened", "warm/C1")]


def test_a_restart_pages_nothing_again_and_does_not_clear_what_it_cannot_see_yet(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    assert plant.step() == [("opened", "leak/R001")]
    plant.acknowledge("leak/R001")
    plant.restart()
    assert plant.at(30).step() == []
    assert plant.active["leak/R001"].acknowledged_by == "mei"
    plant.at(40).read(sensors[0], 1)
    assert plant.step() == []
    plant.at(50).read(sensors[0], 0)
    assert plant.step() == [("cleared", "leak/R001")]


def test_what_was_not_delivered_before_a_restart_is_delivered_after_it(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = True
    plant.read(sensors[0], 1)
    assert plant.step() == []
    plant.restart()
    plant.mail.broken = None
    assert plant.at(0.5).step() == []  # it waits a little longer after each attempt
    assert plant.at(2).step() == [("opened", "leak/R001")]
    assert plant.at(200).step() == []
    (delivery,) = plant.records.deliveries(plant.active["leak/R001"].id)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 2)


def test_a_crash_between_opening_and_queueing_loses_no_page(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    plant.engine._tell = lambda *_: None  # the process dies here
    assert plant.step() == []
    assert "leak/R001" in plant.active
    plant.restart()
    assert plant.at(2).step() == [("opened", "leak/R001")]


def test_a_failure_that_no_retry_mends_is_noted_and_not_tried_again(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = False
    plant.read(sensors[0], 1)
    plant.step()
    (delivery,) = plant.records.deliveries(plant.active["leak/R001"].id)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.FAILED, 1)
    assert delivery.detail == "out of order"
    plant.mail.broken = None
    assert plant.at(3600).step() == []
    assert plant.engine.stats()["notifications_failed"] == 1


def test_an_alert_that_cleared_before_it_could_be_told_is_told_as_cleared_only(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = True
    plant.read(sensors[0], 1)
    plant.step()
    plant.at(20).read(sensors[0], 0)
    plant.step()
    plant.mail.broken = None
    assert plant.at(200).step() == [("cleared", "leak/R001")]
    assert plant.at(400).step() == []


def test_many_alerts_of_one_rule_at_once_are_one_message(lab):
    routes = [{"severities": ["critical"], "channels": ["mail"], "group_wait": "10 s"}]
    plant, sensors = leak_lab(lab, routes=routes)
    plant.read(sensors[0], 1)
    assert plant.step() == []
    plant.at(4).read(sensors[1:], 1)
    assert plant.step() == []
    messages = []
    send = plant.mail.send

    async def counted(notification):
        messages.append(notification)
        return await send(notification)

    plant.mail.send = counted
    assert plant.at(10).step() == [("opened", "leak/R001")]
    assert len(plant.at(14).step()) == 3
    assert [len(m.notices) for m in messages] == [1, 3]


def test_a_rule_has_so_many_alerts_at_a_time_and_the_rest_is_counted(lab, monkeypatch):
    monkeypatch.setattr("alerts.evaluation.MOST_OF_A_RULE", 2)
    plant, sensors = leak_lab(lab)
    plant.read(sensors, 1)
    assert len(plant.step()) == 2
    assert plant.engine.stats()["left_out"] == len(sensors) - 2
    first, second = sorted(plant.active)
    plant.at(20).read(sensors[0], 0)
    plant.at(200).step()
    plant.at(202).step()  # there is room again
    assert len(plant.active) == 2
    assert first not in plant.active
    assert second in plant.active


def test_a_message_tells_of_so_many_alerts_and_the_rest_is_another(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.most = 3
    plant.read(sensors, 1)
    messages = []
    send = plant.mail.send

    async def counted(notification):
        messages.append(len(notification.notices))
        return await send(notification)

    plant.mail.send = counted
    plant.step()
    assert sum(messages) == len(sensors)
    assert max(messages) <= 3


def test_an_alert_that_nobody_takes_is_escalated_once(lab):
    routes = [
        {
            "severities": ["critical"],
            "channels": ["mail"],
            "escalate_after": "15 min",
            "escalate_to": ["hook"],
        }
    ]
    plant, sensors = leak_lab(lab, routes=routes)
    plant.read(sensors[:2], 1)
    plant.step()
    plant.acknowledge("leak/R001")
    plant.at(899).step()
    assert plant.outboxes["hook"].take() == []
    plant.at(900).step()
    assert plant.outboxes["hook"].take() == [("escalated", "leak/R002")]
    plant.at(1800).step()
    assert plant.outboxes["hook"].take() == []
    plant.read(sensors[:2], 0)
    assert plant.step() == [("cleared", "leak/R001"), ("cleared", "leak/R002")]
    assert plant.outboxes["hook"].take() == [("cleared", "leak/R002")]


def test_a_rule_that_breaks_silences_no_other_and_clears_nothing(lab):
    plant = lab(LEAK, {**LEAK, "name": "second"})
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    plant.read(sensor, 1)
    assert plant.step() == [("opened", "leak/R001"), ("opened", "second/R001")]

    def broken(*_):
        raise ZeroDivisionError

    plant.engine.rules[0].evaluate = broken
    plant.at(2).read(sensor, 0)
    assert plant.step() == [("cleared", "second/R001")]
    assert set(plant.active) == {"leak/R001"}
    assert plant.engine.stats()["rule_errors"] == 1


def test_a_rule_that_cannot_be_evaluated_is_told_once_as_an_error_of_ours(lab):
    fails = {
        "name": "fails",
        "kind": "evaluation_error",
        "for": "10 s",
        "keep_firing_for": "60 s",
        "severity": "warning",
    }
    plant = lab(fails, LEAK)
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    whole = plant.engine.rules[0].evaluate

    def broken(*_):
        raise KeyError("no such column")

    told = []
    for second in range(0, 200, 2):
        plant.engine.rules[0].evaluate = broken if second < 60 else whole
        plant.at(second).read(sensor, 0)
        told += [(second, *event) for event in plant.step()]
    assert told == [(10, "opened", "fails/leak"), (118, "cleared", "fails/leak")]
    assert plant.records.alert_history()[0].condition.summary == (
        "the rule leak cannot be evaluated (KeyError: 'no such column'): it opens and clears nothing"
    )


def test_pages_for_a_channel_that_was_taken_out_are_given_up_and_counted(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = True
    plant.read(sensors[0], 1)
    plant.step()
    plant.restart()
    del plant.outboxes["mail"]

    async def retired():
        await plant.engine.dispatcher.retire()
        await plant.engine.dispatcher.drain()

    asyncio.run(retired())
    (delivery,) = plant.records.deliveries(plant.active["leak/R001"].id)
    assert delivery.status is DeliveryStatus.FAILED
    assert "not configured" in delivery.detail


def test_an_alert_may_be_retired_by_hand_and_comes_back_only_if_it_is_found_again(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    plant.step()
    retire(plant.records, [plant.active["leak/R001"].id], "mei", "rack taken away", plant.now)
    plant.at(400)  # the reading is too old to say anything
    assert plant.step() == [("cleared", "leak/R001")]
    assert plant.active == {}
    assert plant.at(410).step() == []
    plant.read(sensors[0], 1)
    assert plant.step() == [("opened", "leak/R001")]


def test_acknowledging_what_is_cleared_says_so(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    plant.step()
    number = plant.active["leak/R001"].id
    plant.read(sensors[0], 0)
    plant.at(2).read(sensors[0], 0)
    plant.step()
    acknowledge(plant.records, number, "mei", "", plant.now)
    with pytest.raises(InputError, match="cleared already"):
        acknowledge(plant.records, number, "mei", "", plant.now)


def test_figures_of_an_active_alert_follow_the_readings_now_and_then(lab):
    plant, gpus = hot_lab(lab, **{"for": "0 s"})
    plant.read(gpus, 90)
    plant.step()
    plant.at(10).read(gpus, 95)
    plant.step()
    assert plant.active["hot/R001"].condition.value == 90
    plant.at(30).read(gpus, 96)
    plant.step()
    assert plant.active["hot/R001"].condition.value == 96
    assert plant.active["hot/R001"].condition.summary.endswith("(4 points above it)")


def test_a_channel_with_a_fault_of_its_own_is_tried_again_later_and_stops_nothing(lab):
    routes = [{"severities": ["critical"], "channels": ["hook", "mail"]}]
    plant, sensors = leak_lab(lab, routes=routes)

    async def broken(notification):
        raise KeyError("fault in the channel")

    plant.outboxes["hook"].send = broken
    plant.read(sensors[0], 1)
    assert plant.step() == [("opened", "leak/R001")]
    del plant.outboxes["hook"].send
    plant.at(61).step()
    assert plant.outboxes["hook"].take() == [("opened", "leak/R001")]


def test_an_alert_that_came_and_went_while_its_page_waited_for_company_is_told_to_nobody(lab):
    routes = [{"severities": ["critical"], "channels": ["mail"], "group_wait": "30 s"}]
    plant, sensors = leak_lab(lab, routes=routes)
    plant.read(sensors[0], 1)
    assert plant.step() == []
    plant.at(10).read(sensors[0], 0)
    assert plant.step() == []
    assert plant.at(60).step() == []
    (alert,) = plant.records.alert_history()
    assert alert.state is AlertState.RETURNED


def test_what_is_tried_again_goes_in_the_same_company_with_the_same_id_while_others_go_apart(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = True
    plant.read(sensors[:2], 1)
    plant.step()
    plant.at(5).read(sensors[2], 1)
    plant.step()
    plant.mail.broken = None
    plant.at(100).step()
    tried = plant.mail.tried
    first, again = tried[0], tried[-2:]
    assert first.id in {n.id for n in again}
    keys = {n.id: [notice.alert.condition.key for notice in n.notices] for n in tried}
    assert sorted(map(len, keys.values())) == [1, 2]


def test_what_is_told_twice_for_want_of_a_note_has_the_same_delivery_also_in_other_company(lab):
    plant, sensors = leak_lab(lab)
    plant.read(sensors[0], 1)
    plant.engine.dispatcher._note = lambda: None  # the process dies before it can write down that it told
    assert plant.step() == [("opened", "leak/R001")]
    plant.restart()
    plant.at(1).read(sensors[1], 1)
    plant.step()
    told = [notice for message in plant.mail.tried for notice in message.notices]
    deliveries = {notice.delivery for notice in told if notice.alert.condition.key == "leak/R001"}
    assert len(deliveries) == 1 < len(told)
    assert len({notice.delivery for notice in told}) == 2


def test_what_waits_for_a_receiver_that_is_back_goes_at_once_the_oldest_first(lab):
    plant, sensors = leak_lab(lab)
    plant.mail.broken = True
    for second in range(160):  # by now each is tried once a minute
        plant.at(second)
        if second in {0, 3, 6}:
            plant.read(sensors[second // 3], 1)
        assert plant.step() == []
    plant.mail.broken = None
    told = []
    for second in range(160, 221):
        told.append(plant.at(second).step())
        if told[-1]:
            break
    waiting = [("opened", f"leak/R00{n}") for n in (1, 2, 3)]
    assert plant.at(second + 1).step() == [w for w in waiting if w not in told[-1]]


def test_a_second_worsening_has_an_id_of_its_own(lab):
    plant = lab(
        {**LEAK, "severity": "info"},
        routes=[{"severities": ["info", "warning", "critical"], "channels": ["mail"]}],
    )
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    plant.read(sensor, 1)
    plant.step()
    ids = []
    for at, severity in ((10, Severity.WARNING), (20, Severity.CRITICAL)):
        asyncio.run(plant.deliver())  # looks that find nothing
        alert = plant.active["leak/R001"]
        plant.at(at).records.update_alerts(
            [(alert.id, replace(alert.condition, severity=severity))], plant.now
        )
        plant.engine._tell(plant.now)
        asyncio.run(plant.deliver())
        ids += [n.id for n in plant.mail.tried[-1:]]
        assert plant.mail.take()[-1] == ("worsened", "leak/R001")
    assert len(set(ids)) == 2


def test_the_worst_is_told_first_and_a_fault_of_one_alert_costs_itself_alone(lab):
    warning = {**LEAK, "name": "aaa", "severity": "warning"}
    plant = lab(warning, LEAK)
    sensors = [plant.point("Rack", "RackLeakDetect", f"R00{n}", states=STATES) for n in (1, 2)]
    plant.read(sensors, 1)
    plant.mail.breaks_on = "leak/R002"
    told = plant.step()
    assert told == [("opened", "aaa/R001"), ("opened", "aaa/R002")]
    assert plant.mail.tried[0].severity is Severity.CRITICAL
    assert plant.at(5).step() == [("opened", "leak/R001")]


def test_an_alert_whose_content_a_receiver_refuses_costs_itself_alone(lab):
    plant = lab(LEAK)
    sensors = [plant.point("Rack", "RackLeakDetect", f"R00{n}", states=STATES) for n in (1, 2, 3)]
    plant.read(sensors, 1)
    plant.mail.refuses = "leak/R002"
    assert plant.step() == []
    assert sorted(plant.at(5).step()) == [("opened", "leak/R001"), ("opened", "leak/R003")]
    (delivery,) = plant.records.deliveries(plant.active["leak/R002"].id)
    assert delivery.status is DeliveryStatus.FAILED


def test_what_cannot_be_written_down_is_told_once_and_told_that_it_cleared(lab, monkeypatch):
    plant, sensors = leak_lab(lab)
    plant.step()
    engine = plant.engine

    def step():
        look = engine.look(plant.now)
        with pytest.raises(StorageError):
            engine.keep(look)
        engine.tell_early(look)
        asyncio.run(plant.deliver())
        return plant.mail.take()

    with monkeypatch.context() as full:
        full.setattr(plant.records, "open_alerts", lambda *_: _full())
        plant.at(10).read(sensors[:2], 1)
        assert sorted(step()) == [("opened", "leak/R001"), ("opened", "leak/R002")]
        assert step() == []
        plant.at(20).read(sensors[0], 0)
        full.setattr(plant.records, "active_alerts", lambda *_: _full())
        assert step() == [("cleared", "leak/R001")]
    assert plant.at(30).step() == []
    (delivery,) = plant.records.deliveries(plant.active["leak/R002"].id)
    assert delivery.detail == "told before it could be written down"
    plant.at(40).read(sensors[1], 0)
    assert plant.step() == [("cleared", "leak/R002")]


def test_an_alert_that_comes_and_goes_while_nobody_can_be_told_keeps_one_page_a_channel(lab, monkeypatch):
    plant, sensors = leak_lab(lab)
    plant.step()
    engine = plant.engine
    plant.mail.broken = True
    with monkeypatch.context() as full:
        full.setattr(plant.records, "active_alerts", lambda *_: _full())
        for n in range(1, 40):
            plant.at(10 * n).read(sensors[0], n % 2)
            look = engine.look(plant.now)
            with pytest.raises(StorageError):
                engine.keep(look)
            engine.tell_early(look)
            if n % 3 == 0:
                asyncio.run(plant.deliver())
            assert engine.dispatcher.stats()["waiting_early"] <= 1
        plant.mail.broken = None
        plant.at(500)
        asyncio.run(plant.deliver())
    assert plant.mail.take() == [("opened", "leak/R001")]


def _full():
    raise StorageError("records: database or disk is full")
