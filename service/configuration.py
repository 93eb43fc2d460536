"""Reading a configuration folder: YAML files into settings, with every fault located."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

import domain
from domain.configuration import KeyPath, validated
from domain.errors import ConfigurationError, Problem

Model = TypeVar("Model", bound=BaseModel)

SHIPPED = Path(domain.__file__).resolve().parent.parent / "config"
"""The configuration that comes with Hallwatch: device profiles, rules, the demo site, schemas."""


def load(path: Path, model: type[Model]) -> Model:
    """Return the settings in a YAML file.

    Raises
    ------
    ConfigurationError
        If the file is absent, is not YAML, or does not fit the model: file, line, key and remedy for each fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            Problem(str(path), "", "does not exist", "See config/examples for a folder to start from.")
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(Problem(str(path), "", f"cannot be read ({error})")) from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigurationError(
            Problem(
                str(path),
                "",
                f"is not valid YAML ({error.problem})",
                "Check the indentation and the quotes there.",
                None if mark is None else mark.line + 1,
            )
        ) from error
    return validated(model, data, str(path), lambda key: _line(tree, key))


def _line(node: Any, path: KeyPath) -> int | None:
    """Return the line, from 1, at which a key path stands, or None where the file does not have it."""
    if not path:
        return None if node is None else node.start_mark.line + 1
    head, rest = path[0], path[1:]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(head):
                return _line(value, rest) if rest else key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(head, int) and head < len(node.value):
        return _line(node.value[head], rest)
    return None
