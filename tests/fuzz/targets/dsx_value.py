"""One DSX value message as the decoder reads it."""

import orjson

from domain import dsx
from domain.errors import ContractViolation


def fuzz(data: bytes) -> None:
    try:
        dsx.read_value(orjson.loads(data))
    except (orjson.JSONDecodeError, ContractViolation):
        pass
