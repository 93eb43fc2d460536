"""A library that answers NVML's calls with anything: values, codes, types, events. A sweep never raises."""

import math
from types import SimpleNamespace
from typing import Any

from collectors.nvml.agent import TraySweeps
from collectors.nvml.fields import VALUE_MEMBER
from collectors.nvml.sweeper import Sweeper
from domain.tray import GPU_FIELDS, value_count

_CODES = (0, 0, 0, 0, 0, 0, 1, 3, 9, 10, 15, 16, 28, 999)
_NUMBERS = (0, 1, 50, 100, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 1 << 63, -1, 1e300, math.inf, math.nan, 2619)


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(f"code {value}")


class Library:
    """Answers every call from the bytes, one after the other, and from the beginning again."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 2  # noqa: N815

    def __init__(self, data: bytes) -> None:
        self._data = data or b"\0"
        self._at = 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at % len(self._data)]

    def number(self) -> Any:
        told = self.byte()
        return _NUMBERS[told] if told < len(_NUMBERS) else told

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **_: Any) -> Any:
            code = _CODES[self.byte() % len(_CODES)]
            if code and name != "nvmlShutdown":
                raise NVMLError(code)
            return self._answer(name, arguments)

        return call

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "nvmlDeviceGetCount":
            return self.byte() % 5
        if name == "nvmlDeviceGetHandleByIndex":
            return arguments[0]
        if name == "nvmlDeviceGetUUID":
            return f"GPU-{arguments[0]}"
        if name == "nvmlDeviceGetFieldValues":
            return [
                SimpleNamespace(
                    nvmlReturn=_CODES[self.byte() % len(_CODES)],
                    valueType=self.byte() % 9,
                    timestamp=self.byte() * 1_000_000,
                    value=SimpleNamespace(**dict.fromkeys(VALUE_MEMBER, self.number())),
                )
                for _ in arguments[1][: len(arguments[1]) - (self.byte() == 0)]
            ]
        if name == "nvmlDeviceGetUtilizationRates":
            return SimpleNamespace(gpu=self.number(), memory=self.number())
        if name == "nvmlDeviceGetMemoryInfo":
            return SimpleNamespace(used=self.number(), total=self.number())
        if name == "nvmlEventSetWait_v2":
            if self.byte() % 2:
                raise NVMLError(10)
            return SimpleNamespace(device=self.byte() % 5, eventData=self.number())
        return self.number()


def fuzz(data: bytes) -> None:
    clock = iter(range(10_000))
    sweeper = Sweeper(Library(data), gpus=2, slow_every=2, clock=lambda: float(next(clock)))
    sweeps = TraySweeps("R001", "T01", sweeper, 1)
    for number in range(4):
        sweep = sweeps.take(number, 1_790_000_000_000 + number)
        assert len(sweep.values) == value_count(sweep.gpu_count)
        assert all(value is None or math.isfinite(value) for value in sweep.values)
        available = sweep.values[
            GPU_FIELDS.index("GpuAvailable") : sweep.gpu_count * len(GPU_FIELDS) : len(GPU_FIELDS)
        ]
        assert set(available) <= {0.0, 1.0}
        assert sweeps.message(sweep)
    sweeper.close()
