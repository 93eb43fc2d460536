"""Fuzz targets, their corpora, and what runs them."""

import importlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"

Target = Callable[[bytes], None]


def target_names() -> list[str]:
    """Return the name of every target, and import none."""
    return sorted(path.stem for path in (HERE / "targets").glob("*.py") if not path.stem.startswith("_"))


def load_targets() -> dict[str, Target]:
    """Return every target by name. (Importing them makes `targets` of this package their folder.)"""
    return {name: load_target(name) for name in target_names()}


def load_target(name: str) -> Target:
    """Return one target."""
    target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").fuzz
    return target


def corpus(name: str) -> list[Path]:
    """Return the inputs kept for a target."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
