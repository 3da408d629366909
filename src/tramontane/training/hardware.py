"""What a run computes on: how fast its matrix products are, and what it draws from the wall."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from tramontane.model.machine import best_dtype, this_machine

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
_SMALL = 256  # below so many dimensions little of a CPU's time goes into products, and bfloat16 gains little
_WATTS_A_CORE = 10.0  # of a server's processor at work, its share of memory and power supply included


def training_dtype(device: torch.device, dim: int) -> torch.dtype:
    """What a model of so many dimensions is computed in; its master weights are float32 everywhere."""
    if device.type == "cuda":
        return torch.bfloat16
    return torch.float32 if dim < _SMALL else best_dtype(device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square product: what a run's speed is a share of."""
    size = 8192 if device.type == "cuda" else 1536
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def describe_device(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{this_machine().processor}, {torch.get_num_threads()} cores"


class EnergyMeter:
    """Energy since the last look, in joules: measured where the machine tells, else estimated; `method` says which."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._last = device, time.monotonic()
        self._asked, self._watts = -math.inf, 0.0  # when a GPU was last asked for its power, and what it said
        self._counter = _rapl() if device.type == "cpu" else None
        if self._counter is not None:
            self.method = "measured: the processor's own counter (RAPL, package 0)"
        elif device.type == "cuda" and _gpu_watts(device) is not None:
            self.method = "measured: the GPU's power as its driver reports it, without the rest of the machine"
        else:
            self.method = f"estimated: {_WATTS_A_CORE:g} W for each core in use"

    def joules(self) -> float:
        """What was drawn since the last call."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        if self._counter is not None and (counter := _rapl()) is not None:
            used, self._counter = counter - self._counter, counter
            return max(0.0, used)  # the counter wraps around once in hours
        return seconds * self._power(now)

    def _power(self, now: float) -> float:
        """In watts; a GPU is asked once a second, since its driver takes its time to answer."""
        if now - self._asked >= 1:
            watts = _gpu_watts(self._device) if self._device.type == "cuda" else None
            self._watts = _WATTS_A_CORE * torch.get_num_threads() if watts is None else watts
            self._asked = now
        return self._watts


def _rapl() -> float | None:
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def _gpu_watts(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.power_draw(device)) / 1000
    except Exception:  # the driver's library may be missing in many ways
        return None
