"""Writes what can be derived from the settings models: docs/configuration.md and the JSON Schemas in config/.

Run ``python -m service.reference`` in a checkout after changing a model; a test fails when it was forgotten.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from alerts.settings import AlertSettings
from analytics.contract.tariff import Tariff
from collectors.snmp.profiles import Profile
from domain.gpu_health import GpuHealth
from domain.site import Site
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS: dict[str, type[BaseModel]] = {
    "schemas/hallwatch.schema.json": Settings,
    "schemas/site.schema.json": Site,
    "schemas/alerts.schema.json": AlertSettings,
    "schemas/gpu-health.schema.json": GpuHealth,
    "schemas/tariff.schema.json": Tariff,
    "devices/profile.schema.json": Profile,
}
"""By place in config/."""

HEAD = """\
# Configuration

A site is a folder of YAML files; `hallwatch check -c DIR` validates it and names file, line, key and remedy of every
fault. `config/examples/small-site/` is one to start from. Quantities may be written with a unit (`16 MW`, `45 Cel`);
secrets are never written here: keys that end in `_env` name an environment variable, keys in `_file` a file.

This page is made from the settings models by `python -m service.reference`. Alert rules, routes and channels
(`alerts.yaml`) are described in [how-to/alerts.md](how-to/alerts.md), device profiles in
[how-to/add-a-device.md](how-to/add-a-device.md), the tray agent's `agent.yaml` in its collector's README.
"""


def markdown() -> str:
    """Return the text of docs/configuration.md."""
    parts = [HEAD]
    for title, model in (("hallwatch.yaml", Settings), ("site.yaml", Site), ("tariff.yaml", Tariff)):
        parts.append(f"\n## {title}\n\n{_first_line(model)}\n\n{_table(model)}")
        for name, inner in _inner(model):
            parts.append(f"\n### {title}: {name}\n\n{_first_line(inner)}\n\n{_table(inner)}")
    return "".join(parts)


def schemas() -> dict[str, str]:
    """Return the text of each JSON Schema by its place in config/."""
    return {
        place: json.dumps(model.model_json_schema(by_alias=True), indent=2, ensure_ascii=False) + "\n"
        for place, model in SCHEMAS.items()
    }


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        meaning = field.description or _docstring_of(field.annotation)
        rows.append(f"| `{name}` | {_type(field.annotation)} | {default} | {meaning} |".replace("\n", " "))
    return "\n".join(rows) + "\n"


def _inner(
    model: type[BaseModel], path: str = "", seen: set[type] | None = None
) -> Iterator[tuple[str, type[BaseModel]]]:
    seen = set() if seen is None else seen
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            if inner not in seen:
                seen.add(inner)
                here = f"{path}{name}"
                yield here, inner
                yield from _inner(inner, f"{here}.", seen)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in typing.get_args(annotation) for m in _models(argument)]


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is typing.Literal:
        return ", ".join(f"`{a}`" for a in arguments if a != "")
    if origin in (tuple, list):
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {"str": "text", "float": "number", "int": "whole number", "bool": "true/false"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", "text").lower()
    )


def _shown(default: Any) -> str:
    if isinstance(default, BaseModel):
        return "its defaults"
    if default is None or default is PydanticUndefined or default in ("", (), [], {}):
        return ""
    if isinstance(default, tuple) and all(isinstance(of, StrEnum) for of in default):
        return f"`[{', '.join(default)}]`"
    if isinstance(default, float) and default == int(default):
        default = int(default)
    return f"`{default}`".replace("'", "")


def _docstring_of(annotation: Any) -> str:
    models = _models(annotation)
    return _first_line(models[0]) if models else ""


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


def main() -> None:
    """Write the files."""
    (ROOT / "docs" / "configuration.md").write_text(markdown(), encoding="utf-8")
    for place, text in schemas().items():
        (ROOT / "config" / place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
