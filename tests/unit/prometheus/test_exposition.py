"""From an exporter's text to readings; every folder of tests/recordings/prometheus is a case."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from collectors.prometheus.exposition import MOST_EVENTS, Exposition, Memory
from collectors.prometheus.settings import ExporterMapping, MetricMapping, PrometheusSettings, Target
from collectors.text_format import LONGEST_LINE, BadLine, Sample, lines, samples
from domain.points import Quality
from service.configuration import SHIPPED, load

ROOT = Path(__file__).parents[3]
CASES = sorted(p.parent for p in (ROOT / "tests/recordings/prometheus").glob("*/expected.yaml"))
MAPPING = load(SHIPPED / "prometheus" / "dcgm-exporter.yaml", ExporterMapping)
HERE = Target(url="http://x", rack="R001", tray="T01")


def exposition(racks=None, **settings):
    settings.setdefault("place", r"(?P<rack>R\d+)-(?P<tray>T\d+)")
    return Exposition(MAPPING, PrometheusSettings(**settings), racks)


def told(page):
    return {f"{r.gpu} {r.point_type}": r.value for r in page.readings}


def pages(*texts, every=10.0, target=HERE, **settings):
    """Return what successive scrapes of one target tell."""
    exporter, memory = exposition(**settings), Memory()
    return [exporter.read(text, target, memory, every * number) for number, text in enumerate(texts)]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_case(case):
    expected = yaml.safe_load((case / "expected.yaml").read_text())
    target = Target(**expected.get("target", {"url": "http://x"}))
    scrapes = [path.read_text() for path in sorted(case.glob("*.prom"))]
    page = pages(*scrapes, target=target)[-1]
    readings = {f"{r.rack} {r.tray} {r.gpu} {r.point_type}": r.value for r in page.readings}
    assert readings == pytest.approx(expected["readings"])
    assert dict(page.counts) == expected["counts"]


def case_pages(testdata, name, **settings):
    """Return what the pages of a file of ours tell; several stand in one, parted by a line of dashes."""
    text = (testdata / "cases" / "prometheus" / f"{name}.txt").read_text()
    return pages(*text.split("\n---\n"), **settings)


def test_a_gpu_that_pods_share_has_its_memory_once(testdata):
    (page,) = case_pages(testdata, "pods")
    assert told(page) == {"0 GpuMemoryUsed": 3000 * 2**20, "0 GpuPowerAverage": 300}
    assert page.counts == {"repeated": 2}


def test_a_gpus_own_row_counts_and_those_of_its_mig_instances_are_not_added_to_it(testdata):
    (page,) = case_pages(testdata, "migparent")
    assert told(page) == {"0 GpuMemoryUsed": 3000 * 2**20, "0 GpuMemoryTotal": 80_000 * 2**20}


def test_without_a_row_of_the_gpu_its_instances_are_added_each_once_however_many_pods_share_it():
    row = 'DCGM_FI_DEV_FB_USED{{gpu="0",GPU_I_ID="{}",pod="{}"}} {}\n'
    (page,) = pages(row.format(1, "a", 100) + row.format(1, "b", 100) + row.format(2, "a", 200))
    assert told(page) == {"0 GpuMemoryUsed": 300 * 2**20}


@pytest.mark.parametrize(
    "second",
    ['DCGM_FI_DEV_FB_USED{gpu="0",GPU_I_ID="2"} x', 'DCGM_FI_DEV_FB_USED{gpu="0",GPU_I_ID="2"} NaN', ""],
)
def test_a_sum_of_which_a_part_cannot_be_read_is_no_value(second):
    cut = "DCGM_FI_DEV_FB_US" if not second else ""
    (page,) = pages(f'DCGM_FI_DEV_FB_USED{{gpu="0",GPU_I_ID="1"}} 100\n{second}\n{cut}')
    assert told(page) == {}
    assert page.counts["incomplete"] == 1


def test_two_rows_that_contradict_each_other_are_told_and_the_first_counts(testdata):
    (page,) = case_pages(testdata, "dupseries")
    assert told(page) == {"0 GpuPowerAverage": 400}
    assert "400, then 410" in page.examples["contradicting"]


def test_one_bad_line_costs_that_line(testdata):
    (page,) = case_pages(testdata, "onebad")
    assert told(page) == {"0 GpuPowerAverage": 400, "2 GpuTemperature": 44}
    assert page.counts == {"bad_line": 1}
    assert page.examples["bad_line"].startswith('DCGM_FI_DEV_GPU_TEMP{gpu="1"')


def test_a_page_that_is_cut_off_gives_what_came_whole(testdata):
    (page,) = case_pages(testdata, "truncated")
    assert told(page) == {"0 GpuPowerAverage": 400}
    assert page.counts == {"cut_off": 1}


def test_a_number_that_is_cut_off_is_no_value():
    (page,) = pages('DCGM_FI_DEV_POWER_USAGE{gpu="0"} 40')
    assert told(page) == {}
    assert page.counts == {"cut_off": 1}


@pytest.mark.parametrize("name", ["nan", "blank"])
def test_what_is_no_number_is_no_value(testdata, name):
    (page,) = case_pages(testdata, name)
    assert told(page) == ({"0 GpuClock": 1e9} if name == "nan" else {})
    assert page.counts["blank"] == (3 if name == "nan" else 4)


def test_the_largest_unsigned_number_is_nvmls_way_to_say_none():
    (page,) = pages('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 4294967295\n')
    assert told(page) == {}


def test_a_node_without_a_name_has_no_place(testdata):
    (page,) = case_pages(testdata, "nohost", target=Target(url="http://x"))
    assert told(page) == {}
    assert page.counts == {"unplaced": 1}


def xids(testdata_or_pages):
    return [[r.value for r in page.readings if r.point_type == "GpuXid"] for page in testdata_or_pages]


def test_an_xid_is_an_event_when_it_comes_and_not_while_it_stands(testdata):
    assert xids(case_pages(testdata, "xid")) == [[], [79], [], [], [79]]


@pytest.mark.parametrize("name", ["xidabsent", "xidblank"])
def test_an_xid_whose_metric_first_appears_or_was_blank_is_an_event(testdata, name):
    assert xids(case_pages(testdata, name)) == [[], [79]]


def test_what_stands_there_at_the_first_scrape_is_no_event():
    row = 'DCGM_FI_DEV_XID_ERRORS{gpu="0"} 79\n'
    counted = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="79"} 3\n'
    assert xids(pages(row, row)) == [[], []]
    assert xids(pages(counted, counted)) == [[], []]


@pytest.mark.parametrize(
    ("metric", "when_it_falls"),
    [("DCGM_EXP_XID_ERRORS_COUNT", []), ("DCGM_EXP_XID_ERRORS_TOTAL", [79])],
    ids=["one left the window", "the exporter started anew"],
)
def test_the_same_xid_again_is_an_event_where_the_exporter_counts_them(metric, when_it_falls):
    row = 'DCGM_FI_DEV_XID_ERRORS{gpu="0"} 79\n' + metric + '{gpu="0",xid="79"} %d\n'
    first = 'DCGM_FI_DEV_XID_ERRORS{gpu="0"} 0\n'
    assert xids(pages(first, row % 1, row % 2, row % 2, row % 1, row % 2)) == [
        [],
        [79],
        [79],
        [],
        when_it_falls,
        [79],
    ]


def test_the_same_xid_twice_between_two_scrapes_is_two_events():
    row = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="94"} %d\n'
    assert xids(pages(row % 1, row % 3)) == [[], [94, 94]]


def test_an_xid_that_two_metrics_count_is_told_once():
    row = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="94"} 1\nDCGM_EXP_XID_ERRORS_TOTAL{gpu="0",xid="94"} 1\n'
    assert xids(pages("", row)) == [[], [94]]


def test_a_counter_that_leaps_tells_a_hundred_events_at_most():
    row = 'DCGM_EXP_XID_ERRORS_TOTAL{gpu="0",xid="94"} %d\n'
    assert [len(page) for page in xids(pages(row % 0, row % 1_000_000))] == [0, MOST_EVENTS]


def available(page):
    return {r.gpu: r.value for r in page.readings if r.point_type == "GpuAvailable"}


def test_a_gpu_that_is_gone_from_the_page_is_lost_until_it_is_back():
    both = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 40\nDCGM_FI_DEV_GPU_TEMP{gpu="1"} 41\n'
    one = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 40\n'
    found = [available(page) for page in pages(both, one, one, both, both)]
    assert found == [{}, {1: 0.0}, {1: 0.0}, {1: 1.0}, {}]


def test_a_page_without_gpus_or_cut_off_loses_none():
    both = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 40\nDCGM_FI_DEV_GPU_TEMP{gpu="1"} 41\n'
    assert [available(page) for page in pages(both, "", both[:-15])] == [{}, {}, {}]


def test_two_kinds_of_xid_in_one_scrape_are_two_events():
    row = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="%d"} 1\n'
    assert xids(pages("", row % 48 + row % 63)) == [[], [48, 63]]


ENERGY = 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} %d\nDCGM_FI_DEV_POWER_USAGE{gpu="0"} 400\n'


def powers(scrapes):
    return [told(page).get("0 GpuPower") for page in scrapes]


def test_a_counter_that_is_read_less_often_than_it_is_scraped_gives_the_power_since_its_last_step():
    steps = [0, 0, 0, 15_000_000, 15_000_000, 30_000_000]  # mJ; dcgm-exporter reads every 30 s by default
    assert powers(pages(*[ENERGY % s for s in steps])) == [None, 400, 400, 500, 400, 750]


def test_a_counter_that_stands_still_is_no_power_of_zero_and_its_next_step_no_rate():
    steps = [1000] * 20 + [9_000_000, 14_000_000]
    told_powers = powers(pages(*[ENERGY % s for s in steps]))
    assert told_powers == [None, *[400] * 19, None, 500]


def test_a_jump_of_the_counter_that_cannot_be_is_not_taken_for_power():
    first, jumped = pages(ENERGY % 0, ENERGY % 42_900_000_000)
    assert powers([first, jumped]) == [None, 400]
    assert jumped.counts == {"impossible_rate": 1}


def test_a_page_whose_power_and_energy_never_change_is_frozen_and_its_readings_are_bad():
    frozen = pages(*[ENERGY % 1000] * 8, every=100.0, frozen_after=600)
    assert [page.frozen for page in frozen] == [False] * 6 + [True] * 2
    assert {r.quality for r in frozen[-1].readings} == {Quality.BAD}
    assert {r.quality for r in frozen[0].readings} == {Quality.GOOD}


def test_a_frozen_page_is_good_again_once_something_changes():
    scrapes = pages(*[ENERGY % 1000] * 8, ENERGY % 50_000, every=100.0)
    assert not scrapes[-1].frozen
    assert {r.quality for r in scrapes[-1].readings} == {Quality.GOOD}


def test_a_gpu_that_is_switched_off_is_not_frozen():
    idle = 'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 0\nDCGM_FI_DEV_GPU_TEMP{gpu="0"} 25\n'
    assert not any(page.frozen for page in pages(*[idle] * 20, every=100.0))


@pytest.mark.parametrize("gpu", ["²", "5" * 5000, "50000", "64", "-1", "", "0x1", " 1", "١"])
def test_a_label_that_is_no_index_of_a_gpu_costs_its_line(gpu):
    (page,) = pages(f'DCGM_FI_DEV_GPU_TEMP{{gpu="{gpu}"}} 50\nDCGM_FI_DEV_GPU_TEMP{{gpu="1"}} 44\n')
    assert told(page) == {"1 GpuTemperature": 44}
    assert page.counts == {"bad_gpu": 1}
    assert len(page.examples["bad_gpu"]) <= 200


@pytest.mark.parametrize("rack", ["R 1", "R/1", "R" * 65, "#", "R\u00e9"])
def test_a_rack_that_is_no_id_costs_its_line(rack):
    row = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",rack="%s",tray="T01"} 50\n'
    (page,) = pages(row % rack + row % "R001", target=Target(url="http://x"))
    assert [(r.rack, r.value) for r in page.readings] == [("R001", 50)]
    assert page.counts == {"bad_place": 1}


def test_a_rack_that_the_site_does_not_have_is_refused_or_accepted_by_setting():
    row = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",rack="%s",tray="T01"} 50\n'
    text = row % "R001" + row % "R999"
    (page,) = pages(text, target=Target(url="http://x"), racks=["R001"])
    assert [r.rack for r in page.readings] == ["R001"]
    assert page.counts == {"unknown_rack": 1}
    (page,) = pages(text, target=Target(url="http://x"), racks=["R001"], unknown_racks="accept")
    assert [r.rack for r in page.readings] == ["R001", "R999"]


def test_samples_beyond_the_bound_are_left_out_and_told():
    row = 'DCGM_FI_DEV_GPU_TEMP{gpu="%d"} 50\n'
    (page,) = pages("".join(row % gpu for gpu in range(20)), max_samples=5)
    assert len(page.readings) == 5
    assert page.counts == {"over_limit": 1}


def test_a_mapping_with_the_wrong_unit_is_refused():
    with pytest.raises(ValidationError, match="GpuTemperature is in Cel"):
        MetricMapping(point="GpuTemperature", unit="W")


def test_a_mapping_onto_an_unknown_point_is_refused():
    with pytest.raises(ValidationError, match="no point type"):
        ExporterMapping(
            name="x", host_labels=("h",), gpu_label="g", metrics={"A": {"point": "GpuMood", "unit": "count"}}
        )


# --- the text format itself


def test_a_web_page_has_no_samples():
    (line,) = lines("<html>not here</html>\n")
    assert isinstance(line.parse(), BadLine)


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,10}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8"), max_size=8),
    max_size=4,
)


@given(names, labels, st.floats(allow_nan=False))
def test_good_lines_are_read_as_the_client_library_reads_them(name, told_labels, value):
    escaped = {
        k: v.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for k, v in told_labels.items()
    }
    if any(set(v) & set("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029") for v in escaped.values()):
        return  # the library takes some of them for ends of lines, the format does not
    inside = ",".join(f'{k}="{v}"' for k, v in escaped.items())
    text = f"{name}{{{inside}}} {value!r}\n"
    (family,) = text_string_to_metric_families(text)
    (theirs,) = family.samples
    (ours,) = samples(text, {name}, 10)
    assert ours == Sample(theirs.name, theirs.labels, theirs.value)
    assert ours.labels == told_labels


@pytest.mark.parametrize(
    "line",
    [
        "a{" * 4000,
        'a{b="' + "\\" * 8000,
        "a" + " " * 8000 + "x y z",
        "a{" + 'b="c",' * 1300 + " 1",
        "a 1" + "\0" * 8000,
    ],
)
def test_no_line_takes_long(line):
    begun = time.thread_time()
    for _ in range(10):
        assert isinstance(next(lines(line[:LONGEST_LINE] + "\n")).parse(), BadLine)
    assert time.thread_time() - begun < 1
