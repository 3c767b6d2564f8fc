"""The description of machine and software, with the parts that vary replaced. Speeds are not asserted."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from stbench import __version__
from stbench.errors import StbenchError
from stbench.runtime import machine
from stbench.runtime.machine import describe_machine, fast_bfloat16, is_out_of_memory, software_versions

CPU = torch.device("cpu")

CPUINFO = """processor\t: 0
model name\t: Example CPU 9000
physical id\t: 0
core id\t\t: 0

processor\t: 1
model name\t: Example CPU 9000
physical id\t: 0
core id\t\t: 0

processor\t: 2
model name\t: Example CPU 9000
physical id\t: 0
core id\t\t: 1
"""
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_text", {"/proc/cpuinfo": CPUINFO}.get)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 3)
    set_memory_gib(64, monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def set_memory_gib(memory_gib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system say that it has so much main memory."""
    monkeypatch.setattr(machine.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory_gib * 2**18}.get)


def add_gpu(name: str, memory_bytes: int, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch find a GPU, and the system a driver, whose file's first line is given."""
    properties = type("Properties", (), {"name": name, "total_memory": memory_bytes})
    monkeypatch.setattr(machine, "read_text", {"/proc/cpuinfo": CPUINFO, "/proc/driver/nvidia/version": driver}.get)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


@pytest.mark.usefixtures("known_machine")
def test_fields_of_the_machine() -> None:
    described = describe_machine()
    assert (described.cpu, described.cores, described.threads) == ("Example CPU 9000", 2, 3)
    assert (described.memory_gib, described.gpu, described.driver) == (64, None, None)
    assert len(described.fingerprint) == 12
    assert int(described.fingerprint, 16) >= 0


@pytest.mark.usefixtures("known_machine")
def test_fingerprint_follows_the_hardware_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and GPU count, the driver and the operating system do not."""
    prints = [describe_machine().fingerprint]
    set_memory_gib(32, monkeypatch)
    prints.append(describe_machine().fingerprint)
    for name, driver in (("H100", DRIVER), ("H100", DRIVER.replace("550.54.15", "560.1")), ("H200", DRIVER)):
        add_gpu(name, 80 * 2**30, driver, monkeypatch)
        prints.append(describe_machine().fingerprint)
    monkeypatch.setattr(machine.platform, "platform", lambda: "another system")
    prints.append(describe_machine().fingerprint)
    assert [prints.index(each) for each in prints] == [0, 1, 2, 2, 4, 4]


def test_this_machine_is_the_same_twice() -> None:
    first = describe_machine()
    assert first == describe_machine()
    assert first.threads >= first.cores >= 1
    assert first.memory_gib > 0


@pytest.mark.usefixtures("known_machine")
@pytest.mark.parametrize(
    "line",
    [
        DRIVER,
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16)\n",
    ],
)
def test_fields_of_a_gpu(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_gpu("NVIDIA H100", 79 * 2**30 + 2**28, line, monkeypatch)
    described = describe_machine()
    assert (described.gpu, described.gpu_memory_gib, described.driver) == ("NVIDIA H100", 79, "550.54.15")


def test_software_versions() -> None:
    versions = software_versions()
    assert (versions.torch, versions.cuda) == (torch.__version__, torch.version.cuda)
    assert (versions.python, versions.stbench) == (platform.python_version(), __version__)
    assert versions.numpy == np.__version__


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit_of_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("")
    assert machine._checkout(source) == (None, None)
    git(tmp_path, "init")
    assert machine._checkout(source) == (None, None)  # inside a repository that does not track it
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert machine._checkout(source) == (commit, False)
    source.write_text("changed")
    assert machine._checkout(source) == (commit, True)


def test_no_git_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._checkout(tmp_path / "module.py") == (None, None)


@pytest.mark.parametrize(
    ("cpuinfo", "fast"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f avx2\n", False),
        ("", False),
    ],
)
def test_bfloat16_on_a_cpu_is_known_from_its_instructions(
    cpuinfo: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "read_text", lambda path: cpuinfo)
    assert fast_bfloat16(CPU) is fast


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_on_cuda_is_known_from_the_capability(
    capability: tuple[int, int], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast_bfloat16(torch.device("cuda")) is fast


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_counts_as_out_of_memory(exception: BaseException, expected: bool) -> None:
    assert is_out_of_memory(exception) is expected


def test_memory_that_ran_out_in_a_users_code_is_known_by_its_cause() -> None:
    for cause, expected in ((MemoryError(), True), (ValueError("narrow"), False)):
        told = StbenchError("variant 'mine' cannot be built")
        told.__cause__ = cause
        assert is_out_of_memory(told) is expected
    assert not is_out_of_memory(StbenchError("depth=3 is odd"))


def test_torch_on_a_cpu_really_says_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
