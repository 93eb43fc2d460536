"""Which profiles a device has: evidence is weighed, and what answers is read."""

from collectors.snmp.physics import doubts
from collectors.snmp.profiles import Profile
from collectors.snmp.readings import Device
from collectors.snmp.replay import RecordedClient, replay
from collectors.snmp.survey import survey
from collectors.snmp.walk import Walk

ROOT = "1.3.6.1.4.1.99"
WHO = {"1.3.6.1.2.1.1.1.0": b"ACME", "1.3.6.1.2.1.1.2.0": f"{ROOT}.1.1"}


def profile(name, arc, columns, match=(), kind="UPS", **more):
    values = [
        {"at": at, "symbol": f"{name}{at}", "point": point, "unit": unit, "name": f"{name} {at}"}
        for at, (point, unit) in columns.items()
    ]
    table = {"oid": f"{ROOT}.{arc}", "symbol": name, "values": values}
    return Profile.model_validate(
        {
            "name": name,
            "title": name,
            "object": {"type": kind},
            "match": list(match),
            "tables": [table],
            **more,
        }
    )


async def surveyed(cells, *profiles, wanted="auto"):
    walk = Walk({**WHO, **{f"{ROOT}.{k}.0": v for k, v in cells.items()}})
    return await survey(RecordedClient(walk), {p.name: p for p in profiles}, wanted)


POWER = {1: ("ActivePower", "W"), 2: ("Voltage", "V")}


async def test_a_profile_whose_tables_do_not_answer_never_wins():
    exact = profile("exact", 7, POWER, [{"sysObjectID": f"{ROOT}.1.1"}])
    broad = profile("broad", 8, POWER, [{"sysObjectID": ROOT}])
    found = await surveyed({"8.1": 100}, exact, broad)
    assert found.profile.name == "broad"
    assert [str(e).split(";")[-1] for e in found.evidence] == [" 1 values", " its tables do not answer"]


async def test_a_device_whose_word_says_nothing_is_known_by_what_answers():
    silent = profile("silent", 7, POWER, [{"sysObjectID": "1.3.6.1.4.1.12345"}])
    found = await surveyed({"7.1": 100}, silent)
    assert (found.profile.name, found.evidence[0].reasons) == ("silent", (f"{ROOT}.7 answers",))


async def test_a_winner_that_reads_little_gives_way_to_one_that_reads_much():
    little = profile("little", 7, POWER, [{"sysObjectID": f"{ROOT}.1.1"}])
    many = dict.fromkeys(range(1, 9), ("GenericPoint", "V"))
    much = profile("much", 8, many, [{"sysObjectID": ROOT}])
    cells = {"7.1": 1, **{f"8.{n}": n for n in many}}
    found = await surveyed(cells, little, much)
    assert found.profile.name == "much"
    assert {r.symbol for r in found.readings(Device("D"))} == {"little1", *(f"much{n}" for n in many)}


async def test_a_device_that_matches_several_gives_all_of_them_each_quantity_once():
    cooling = profile("cooling", 7, {1: ("AirTemperature", "Cel"), 2: ("ActivePower", "W")},
                      [{"sysObjectID": ROOT}], kind="CRAC")  # fmt: skip
    meter = profile("meter", 8, POWER)
    found = await surveyed({"7.1": 21, "7.2": 900, "8.1": 901, "8.2": 230}, cooling, meter)
    readings = {r.symbol: r for r in found.readings(Device("D"))}
    assert found.profile.name == "cooling"
    assert readings["meter1"].duplicate, "the winner tells the power already"
    assert not readings["meter2"].duplicate
    assert {r.point.object_type for r in readings.values()} == {"CRAC"}


async def test_nothing_read_is_no_profile():
    found = await surveyed({}, profile("p", 7, POWER, [{"sysObjectID": ROOT}]))
    assert found.profile is None
    assert found.readings(Device("D")) == []


async def test_tenths_where_the_mib_has_volts_are_corrected_with_their_evidence_shown():
    correction = {"symbols": ["ups2"], "scale": 0.1, "cannot_be": 850, "because": "cards fill it in tenths"}
    ups = profile("ups", 7, POWER, [{"sysObjectID": ROOT}], corrections=[correction])
    wrong = (await surveyed({"7.2": 1222}, ups)).readings(Device("D"))[0]
    assert (wrong.value, wrong.convert(1230)) == (122.2, 123.0)
    assert wrong.corrected == "times 0.1: cards fill it in tenths; told 1,222"
    right = (await surveyed({"7.2": 122}, ups)).readings(Device("D"))[0]
    assert (right.value, right.corrected) == (122.0, "")


async def test_what_is_not_known_to_be_wrong_is_doubted_not_corrected():
    ups = profile("ups", 7, POWER, [{"sysObjectID": ROOT}])
    found = await surveyed({"7.2": 1222}, ups)
    (doubt,) = found.doubts(found.readings(Device("D")))
    assert doubt.text == "scale doubtful: 1,222 V; times 0.1 it would be 122.2 V"


async def test_volt_times_ampere_is_held_against_watt():
    columns = {1: ("ActivePower", "W"), 2: ("Voltage", "V"), 3: ("Current", "A")}
    pdu = profile("pdu", 7, columns, [{"sysObjectID": ROOT}], kind="PowerMeter")
    good = await surveyed({"7.1": 440, "7.2": 230, "7.3": 2}, pdu)
    assert doubts(good.readings(Device("D"))) == []
    bad = await surveyed({"7.1": 4600, "7.2": 230, "7.3": 2}, pdu)
    (doubt,) = doubts(bad.readings(Device("D")))
    assert (
        doubt.text
        == "power doubtful: 230 V times 2 A is 460 W, and 4.60 kW is told; times 0.1 one of them would fit"
    )


async def test_outlets_are_held_against_the_inlet():
    outlets = {"oid": f"{ROOT}.8.1", "symbol": "outlets", "index": ["n"], "object": {"type": "Outlet", "id": "outlet{n}"},
               "values": [{"at": 1, "symbol": "w", "point": "ActivePower", "unit": "W"}]}  # fmt: skip
    base = profile("pdu", 7, POWER, [{"sysObjectID": ROOT}], kind="PowerMeter")
    pdu = base.model_copy(update={"tables": [*base.tables, *Profile.model_validate(
        {"name": "x", "title": "x", "tables": [outlets]}).tables]})  # fmt: skip
    walk = Walk({**WHO, f"{ROOT}.7.1.0": 100, f"{ROOT}.8.1.1.1": 400, f"{ROOT}.8.1.1.2": 600})
    told = await replay(walk, {"pdu": pdu}, "auto", Device("D"))
    assert [r for r in told.remarks() if "its outlets together take 1.00 kW" in r]
