"""Validated configuration: what is wrong, in which file, at which key, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from domain.documents import KeyPath
from domain.errors import ConfigurationError, Problem, brief
from domain.redaction import redacted_all

Model = TypeVar("Model", bound=BaseModel)


class SettingsModel(BaseModel):
    """A part of the configuration: unknown keys are refused, and its text shows no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redacted_all(value)


def validated(
    model: type[Model], data: Any, file: str, line_of: Callable[[KeyPath], int | None] = lambda path: None
) -> Model:
    """Return `data` as a `model`.

    Parameters
    ----------
    model
        The settings model.
    data
        Plain data as read from the file.
    file
        Its name, for messages.
    line_of
        Finds the line of a key path, where the file's format tells.

    Raises
    ------
    ConfigurationError
        With one problem for each fault that was found.
    """
    if not isinstance(data, Mapping):
        raise ConfigurationError(Problem(file, "", "is empty or not a mapping", "Write 'key: value' lines."))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # looking a line up takes time in proportion to the file: only for what is told
        found = error.errors(include_url=False)
        problems = [_problem(e, model, file, line_of) for e in found[: ConfigurationError.MOST_TOLD]]
        left = [Problem(file, _key(e["loc"]), str(e["msg"])) for e in found[ConfigurationError.MOST_TOLD :]]
        raise ConfigurationError(*problems, *left) from error


def _problem(
    error: Any, model: type[BaseModel], file: str, line_of: Callable[[KeyPath], int | None]
) -> Problem:
    path: KeyPath = tuple(error["loc"])
    key = _key(path)
    message = str(error["msg"]).removeprefix("Value error, ")
    remedy = ""
    if error["type"] == "missing":
        message, remedy = "is missing", f"Add '{path[-1]}:' here."
    elif error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(path[-1])[:60], sorted(_keys(model)), n=1)
        message = "is not a known key"
        remedy = f"Did you mean '{close[0]}'?" if close else "Remove it."
    elif "input" in error and not isinstance(error["input"], (Mapping, list)):
        message = f"{message[:1].lower()}{message[1:]} (found {brief(error['input'])})"
    line = line_of(path)
    while line is None and path:
        path = path[:-1]
        line = line_of(path)
    return Problem(file, key, message, remedy, line)


def _key(path: KeyPath) -> str:
    key = ".".join(str(part) for part in path)
    return key if len(key) <= 120 else key[:117] + "..."


def _keys(model: type[BaseModel]) -> set[str]:
    """Return the names of all fields of a model and of the models within it."""
    found: set[str] = set()
    todo: list[Any] = [model]
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                found.add(field.alias or name)
                todo.append(field.annotation)
        else:
            todo.extend(getattr(kind, "__args__", ()))
    return found
