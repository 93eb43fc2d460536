"""A whole `site.yaml`, from its bytes to its settings."""

from domain.site import Site
from tests.fuzz.targets._configuration import read


def fuzz(data: bytes) -> None:
    read(data, Site)
