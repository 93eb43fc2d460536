import contextlib
import os

import pytest

from alerts.settings import AlertSettings
from domain.configuration import validated
from domain.documents import read_document
from domain.errors import ConfigurationError
from domain.site import Site
from service.configuration import SHIPPED, load
from service.settings import Settings

SITE = """\
id: lab
name: Lab
limit: 600 kW
installed: 640 kW
rack_limit: 145 kW
pods:
  - id: P1
    racks: R01..04
    row: 1
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SITE.replace("600 kW", "600 parsecs"), "site.yaml:3: limit: unknown unit 'parsecs'"),
        (
            SITE.replace("    row: 1\n", "    rov: 1\n"),
            "site.yaml:9: pods.0.rov: is not a known key. Did you mean 'row'?",
        ),
        (SITE.replace("limit: 600 kW\n", "", 1), "limit: is missing. Add 'limit:' here."),
        (SITE.replace("name: Lab", "name: 'Lab"), "is not valid YAML"),
        ("", "is empty or not a mapping"),
        ("- a\n- b\n", "is empty or not a mapping"),
    ],
)
def test_every_fault_is_told_with_file_line_key_and_remedy(tmp_path, text, said):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file, Site)
    assert said in str(caught.value)


def test_an_absent_file_says_where_an_example_is(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(tmp_path / "none.yaml", Site)


def test_the_shipped_site_is_the_factory_of_96_racks():
    site = load(SHIPPED / "site.yaml", Site)
    assert len(site.racks) == 96
    assert site.limit == 16e6
    assert len(site.racks) * site.rack_gpus == 6912
    assert len([n for n in site.nodes if n.type == "UPS"]) == 12


def _bomb(levels=12, wide=10):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * wide)}]" for i in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "NUL": (SITE.replace("Lab", "L\0b"), ":2:", "character that YAML does not allow"),
    "deep": ("a: " + "[" * 2000, ":1:", "nested more than 30 deep"),
    "deep mapping": ("".join(f"{' ' * i}a:\n" for i in range(500)), ":31:", "nested more than 30 deep"),
    "alias bomb": (_bomb(), "", "more than 200,000 entries"),
    "alias within itself": ("a: &a [*a]", ":1:", "stands within itself"),
    "empty racks": (SITE.replace("racks: R01..04", "racks:"), ":8:", "pods.0.racks: write an id"),
    "racks are a mapping": (SITE.replace("R01..04", "{a: b}"), ":8:", "write an id"),
    "endless range": (SITE.replace("R01..04", "R001..9999999999"), "", "more than 100,000 ids"),
    "large range": (SITE.replace("R01..04", "R1..20000"), ":8:", "range of more than 10,000 ids"),
    "backwards": (SITE.replace("R01..04", "R04..01"), ":8:", "runs backwards"),
    "many ranges": (
        SITE + "".join(f"  - {{id: P{i}, row: 1, racks: R{i}1..9999}}\n" for i in range(40)),
        "",
        "more than 100,000 ids",
    ),
    "large": (SITE + "# " + "x" * 5_000_000, "", "larger than 4,194,304 bytes"),
    "many entries": ("pods: [" + "a, " * 200_001 + "]", ":1:", "more than 200,000 entries"),
    "digits": (SITE.replace("600 kW", "9" * 20_000), ":3:", "number of over 100 digits"),
    "quoted digits": (SITE.replace("600 kW", '"' + "9" * 20_000 + '"'), ":3:", "quantity"),
    "not a number": (SITE.replace("600 kW", ".nan"), ":3:", "no quantity that anything can have"),
    "infinite": (SITE.replace("600 kW", "1e999 W"), ":3:", "no quantity that anything can have"),
    "true": (SITE.replace("600 kW", "true"), ":3:", "write a quantity"),
    "no date": (SITE + "x: 2026-13-45\n", ":10:", "cannot be read as timestamp"),
    "no integer": (SITE + 'x: !!int ""\n', ":10:", "cannot be read as int"),
    "a program": (SITE + 'x: !!python/object/apply:os.system ["true"]\n', ":10:", "is not valid YAML"),
    "twice": (SITE + "limit: 1 MW\n", ":10:", "stands twice, first in line 3"),
    "a key of its own": (SITE + "? [a, b]\n: c\n", ":10:", "is not valid YAML"),
    "a zone that is a folder": (SITE + "timezone: Asia\n", ":10:", "no IANA time zone"),
    "escapes": (SITE + '"\\e[31mred": 1\n', ":10:", "\\x1b[31mred"),
    "many faults": (SITE + "".join(f"k{i}: 1\n" for i in range(3000)), ":10:", "and 2950 more."),
    "UTF-16": (SITE.encode("utf-16"), ":1:", "is not text in UTF-8. Save it as UTF-8."),
    "bytes": (SITE.encode().replace(b"Lab", b"L\xffb"), ":2:", "is not text in UTF-8"),
}


@pytest.mark.parametrize(("text", "line", "said"), HOSTILE.values(), ids=HOSTILE)
def test_no_file_is_too_hostile_to_be_told_what_is_wrong_with_it(tmp_path, text, line, said):
    file = tmp_path / "site.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load(file, Site)
    told = str(caught.value)
    assert said in told
    assert f"site.yaml{line}" in told
    assert len(told) < 20_000
    assert told.replace("\n", "").isprintable()


def test_a_file_may_use_anchors_and_merge_keys_as_yaml_has_them(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(
        SITE.replace("  - id: P1", "  - &pod\n    id: P1") + "  - {<<: *pod, id: P2, racks: R05..08}\n"
    )
    assert load(file, Site).racks == tuple(f"R0{n}" for n in range(1, 9))


def test_what_is_not_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "site.yaml")
    for path in (tmp_path / "site.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match="is not a file"):
            load(path, Site)


MORE = {
    "hallwatch": {
        "schedule": [{"name": "a", "url": "http://x/"}, {"name": "b", "file": "b.yaml"}],
        "prometheus": [
            {"targets": [{"url": "http://h:9400/metrics", "rack": "R1", "tray": "T1"}], "place": ""}
        ],
        "publish": {"broker": {"url": "mqtt://h"}, "sources": ["snmp:*"]},
        "storage": {"kind": "influxdb", "influxdb": {"url": "http://h:8086"}, "retention": {"raw_hours": 48}},
        "analytics": {},
    },
    "site": {
        "schedule": [
            {"start": "2026-07-01T14:00:00+08:00", "end": "2026-07-01T15:00:00+08:00", "limit": "1 MW"}
        ],
        "thermal": {"gpu": 87},
        "redundancy": {"CDUs": ["CDU-1"]},
    },
}
ODD = [
    None,
    [],
    {},
    "",
    "\0",
    "x" * 5000,
    "²",
    -1,
    0,
    10**30,
    float("nan"),
    True,
    [None],
    {"a": None},
    [[]],
    "R1..3",
]


def _paths(data, path=()):
    yield path
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield from _paths(value, (*path, key))


def _with(data, path, value):
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = _with(data[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    ("name", "model"), [("hallwatch", Settings), ("site", Site), ("alerts", AlertSettings)]
)
def test_an_odd_value_at_any_key_is_taken_or_told_and_never_a_traceback(name, model):
    good = read_document(SHIPPED / "examples" / "small-site" / f"{name}.yaml").data
    good = {**good, **MORE.get(name, {})}
    for path in _paths(good):
        for odd in ODD:
            with contextlib.suppress(ConfigurationError):
                validated(model, _with(good, path, odd), "x.yaml")
