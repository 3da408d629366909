"""What this machine has, and which dtype serves a model best on it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about the processor, the memory and the accelerators."""

    processor: str
    architecture: str
    cores: int
    threads: int
    memory_bytes: int
    instructions: tuple[str, ...]
    accelerators: tuple[str, ...]


@cache
def this_machine() -> Machine:
    """Reads the facts once; nothing is changed."""
    return Machine(
        processor=_processor_name(),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_bytes=_memory_bytes(),
        instructions=_instructions(),
        accelerators=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
    )


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it; float32 where it would be emulated."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    fast = {"amx_bf16", "avx512_bf16", "bf16"}  # the last is Arm's name
    return torch.bfloat16 if fast.intersection(this_machine().instructions) else torch.float32


# The instruction sets that change which kernels PyTorch picks, best first, as Linux names them.
_TELLING = (
    "amx_int8",
    "amx_bf16",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "avx512f",
    "avx2",
    "i8mm",
    "bf16",
    "sve",
    "asimddp",
)


def _instructions() -> tuple[str, ...]:
    present = set(processor_flags().split())
    return tuple(name for name in _TELLING if name in present)


def processor_flags() -> str:
    """All instruction sets that the system names; PyTorch's own word where it names none."""
    return _cpuinfo("flags") or _cpuinfo("Features") or torch.backends.cpu.get_cpu_capability().lower()


def _processor_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str | None:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _memory_bytes() -> int:
    """Physical memory, or the container's limit where that is smaller."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return physical if text == "max" else min(physical, int(text))


def free_memory() -> int:
    """Bytes that programs can still have: the system's word, or what the container's limit leaves."""
    available = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")), None)
    free = this_machine().memory_bytes if available is None else int(available) * 1024
    group = Path("/sys/fs/cgroup")
    if not (group / "memory.current").exists():
        return free
    # Pages that only cache files are given up where memory is short.
    cached = next((line.split()[1] for line in _lines(str(group / "memory.stat")) if line.startswith("file ")), "0")
    used = int((group / "memory.current").read_text()) - int(cached)
    return max(0, min(free, this_machine().memory_bytes - used))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
