"""A C library in place of libnvidia-ml.so.1: compiled at test time, loaded by the real nvidia-ml-py, four GPUs, or those of a capture."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import pynvml

SOURCE = Path(__file__).parent / "nvml.c"
NAME = "libnvidia-ml.so.1"


def build(folder: Path) -> Path:
    """Compile the library into `folder` and return its path."""
    library = folder / NAME
    command = [
        "cc",
        "-O1",
        "-Wall",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{NAME}",
        "-o",
        str(library),
        str(SOURCE),
    ]
    subprocess.run([*command, "-lpthread"], check=True, capture_output=True, timeout=300)
    return library


class Standin:
    """The loaded library: nvidia-ml-py finds it by its name, tests change what it tells.

    Loading it first makes the loader answer nvidia-ml-py's own request for ``libnvidia-ml.so.1`` with it.
    """

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.nvml = pynvml
        self.fresh()

    def fresh(self) -> None:
        self.library.standin_fresh()

    def play(self, table: Path) -> None:
        """Answer as a table says (see `tests.nvml_standin.capture`)."""
        if not self.library.standin_load(str(table).encode()):
            raise FileNotFoundError(table)

    def answer(self, gpu: int, name: str = "", field: int = 0, value: float = 0, code: int = 0) -> None:
        """Change what a call, by its name in the table, or else a field answers."""
        told = ctypes.c_double(value)
        self.library.standin_answer(gpu, name.encode() if name else None, field, 0, 1, code, told)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, f"standin_{name}")
