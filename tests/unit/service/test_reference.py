import pytest

from service.reference import ROOT, markdown, schemas
from service.settings import Settings


def test_the_configuration_page_is_that_of_the_models():
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown(), "run: python -m service.reference"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_are_those_of_the_models(name):
    assert (ROOT / "config" / name).read_text() == schemas()[name], "run: python -m service.reference"


def test_every_setting_is_described():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > len(Settings.model_fields)
    assert [row for row in rows if not row.rstrip("|").rsplit("|", 1)[-1].strip()] == []
