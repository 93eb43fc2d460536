"""How every configuration file is read, but for its way from the disk."""

from pydantic import BaseModel

from domain.configuration import validated
from domain.documents import parse_document
from domain.errors import ConfigurationError


def read(data: bytes, model: type[BaseModel]) -> None:
    try:
        document = parse_document(data.decode("utf-8", "replace"), "fuzz.yaml")
        validated(model, document.data, "fuzz.yaml", document.line)
    except ConfigurationError as error:
        told = str(error)
        assert len(told) < 50_000
        assert told.replace("\n", "").isprintable()
