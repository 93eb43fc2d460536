"""Fuzz targets, their corpora, and what runs them."""

import importlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"

Target = Callable[[bytes], None]


def load_targets() -> dict[str, Target]:
    """Return every target by name. (Importing them makes `targets` of this package their folder.)"""
    names = sorted(path.stem for path in (HERE / "targets").glob("*.py") if not path.stem.startswith("_"))
    return {name: importlib.import_module(f"tests.fuzz.targets.{name}").fuzz for name in names}


def corpus(name: str) -> list[Path]:
    """Return the inputs kept for a target."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
