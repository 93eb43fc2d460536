"""A whole `hallwatch.yaml`, from its bytes to its settings."""

from service.settings import Settings
from tests.fuzz.targets._configuration import read


def fuzz(data: bytes) -> None:
    read(data, Settings)
