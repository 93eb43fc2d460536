"""One DSX value message as the decoder reads it."""

import contextlib

import orjson

from domain import dsx
from domain.errors import ContractViolation


def fuzz(data: bytes) -> None:
    with contextlib.suppress(orjson.JSONDecodeError, ContractViolation):
        dsx.read_value(orjson.loads(data))
