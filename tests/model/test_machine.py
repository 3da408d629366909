"""What is said of this machine is true of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tramontane.model import machine
from tramontane.model.machine import GIB, best_device, best_dtype, this_machine

CPUINFO = Path("/proc/cpuinfo")
needs_linux = pytest.mark.skipif(not CPUINFO.exists(), reason="reads /proc, which Linux has")


def test_processor_and_cores() -> None:
    found = this_machine()
    assert found.processor
    assert found.architecture == os.uname().machine
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.threads >= 1
    assert this_machine() is found


@needs_linux
def test_memory_is_what_linux_says_or_the_limit_of_the_container() -> None:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(fields["MemTotal"].split()[0]) << 10
    assert GIB / 4 < this_machine().memory_bytes <= total
    limit = Path("/sys/fs/cgroup/memory.max")
    if not limit.exists() or limit.read_text().strip() == "max":
        assert this_machine().memory_bytes == total


@needs_linux
def test_instructions_are_among_the_processor_s() -> None:
    words = set(CPUINFO.read_text().split())
    assert set(this_machine().instructions) <= words
    assert {name for name in machine._TELLING if name in words} == set(this_machine().instructions)


def test_torch_agrees_on_the_instructions() -> None:
    """PyTorch detects them by itself; its answer may be lower only where it was told so."""
    capability = torch.backends.cpu.get_cpu_capability()
    implied = {"AVX2": "avx2", "AVX512": "avx512f"}
    if capability in implied and implied[capability] in machine._TELLING:
        assert implied[capability] in this_machine().instructions


def test_accelerators_are_those_that_torch_sees() -> None:
    assert len(this_machine().accelerators) == torch.cuda.device_count()
    assert best_device().type == ("cuda" if torch.cuda.device_count() else "cpu")


def test_best_dtype_is_bfloat16_only_where_it_is_multiplied() -> None:
    fast = {"amx_bf16", "avx512_bf16", "bf16"} & set(this_machine().instructions)
    assert best_dtype(torch.device("cpu")) == (torch.bfloat16 if fast else torch.float32)


@needs_linux
def test_a_field_that_is_not_there() -> None:
    assert machine._cpuinfo("no such field") is None
    assert machine._cpuinfo("processor") == "0"
