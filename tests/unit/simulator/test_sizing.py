import pytest
import yaml

from domain.errors import InputError
from domain.site import Site
from service.configuration import SHIPPED, load
from simulator.sizing import first_racks

FULL = load(SHIPPED / "site.yaml", Site)


@pytest.mark.parametrize("racks", [1, 8, 10, 96])
def test_a_smaller_factory_is_a_site_of_its_own_with_scaled_limits(racks):
    site = first_racks(FULL, racks)
    assert site.racks == FULL.racks[:racks]
    assert site.limit == pytest.approx(FULL.limit * racks / 96)
    assert Site.model_validate(yaml.safe_load(yaml.safe_dump(site.model_dump(mode="json")))) == site
    envelope = site.envelope()
    assert {child for node in envelope for child in node.children} <= set(envelope.nodes)


def test_more_racks_than_there_are_is_an_error():
    with pytest.raises(InputError, match="has 96 racks"):
        first_racks(FULL, 97)
