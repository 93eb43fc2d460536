import pytest

from domain.errors import ConfigurationError
from domain.site import Site
from service.configuration import SHIPPED, load

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
