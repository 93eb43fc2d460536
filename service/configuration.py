"""Reading a configuration folder: YAML files into settings, with every fault located."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

import domain
from collectors.prometheus.settings import ExporterMapping
from domain.configuration import validated
from domain.documents import read_document
from domain.gpu_health import GpuHealth

Model = TypeVar("Model", bound=BaseModel)

SHIPPED = Path(domain.__file__).resolve().parent.parent / "config"
"""The configuration that comes with Hallwatch: device profiles, rules, the demo site, schemas."""
MAPPINGS = SHIPPED / "prometheus"
"""What the metrics of exporters mean."""


def load(path: Path, model: type[Model]) -> Model:
    """Return the settings in a YAML file.

    Raises
    ------
    ConfigurationError
        If the file is absent, is out of bounds, is not YAML, or does not fit the model: file, line, key and remedy for each fault.
    """
    document = read_document(path)
    return validated(model, document.data, str(path), document.line)


def load_gpu_health(path: Path | None = None) -> GpuHealth:
    """Return the catalogue of GPU health in a file; the one that comes with Hallwatch if None.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is faulty.
    """
    return load(path or SHIPPED / "gpu-health.yaml", GpuHealth)


def mapping_named(name: str) -> ExporterMapping:
    """Return the mapping of an exporter's metrics that a scraper names.

    Raises
    ------
    ConfigurationError
        If there is none of that name, or it is faulty.
    """
    return load(MAPPINGS / f"{name}.yaml", ExporterMapping)
