"""A whole `alerts.yaml`, from its bytes to its settings."""

from alerts.settings import AlertSettings
from tests.fuzz.targets._configuration import read


def fuzz(data: bytes) -> None:
    read(data, AlertSettings)
