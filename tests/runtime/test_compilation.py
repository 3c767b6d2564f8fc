"""Compiled networks: the same results under the same names, and an error where torch would go on uncompiled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.layers import Mlp
from stbench.runtime import compilation
from stbench.runtime.compilation import compile_in_place, forget_compiled_code

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")


@pytest.fixture(autouse=True)
def clean_compiler() -> Iterator[None]:
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        yield
        torch._dynamo.reset()


@pytest.mark.parametrize("mode", ["off", "default"])
def test_a_compiled_network_computes_the_same(mode: str) -> None:
    """The faster tanh of GELU included, in both passes; and the weights keep their names."""
    torch.manual_seed(0)
    plain = Mlp(16, 64)
    compiled = Mlp(16, 64)
    compiled.load_state_dict(plain.state_dict())
    compile_in_place(compiled, mode)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    x = torch.linspace(-6, 6, 32 * 16).view(32, 16)
    outputs = [network(x) for network in (plain, compiled)]
    for output in outputs:
        output.square().sum().backward()
    assert outputs[0].std() > 0.1
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    for mine, reference in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-5, atol=1e-4)


def test_what_is_compiled_is_kept_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody says, or in stbench's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    compile_in_place(Scale(2), "default")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compile_in_place(Scale(2), "off")
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    compile_in_place(Scale(2), "default")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "stbench" / f"compiled-torch-{torch.__version__}")


class Scale(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_more_networks_than_the_compiler_keeps_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch would go on without compiling, and the timing would stand under the wrong name."""
    monkeypatch.setattr(compilation, "RECOMPILE_LIMIT", 2)
    networks = [Scale(factor) for factor in (2, 3, 4)]
    for network in networks:
        compile_in_place(network, "default")
    x = torch.ones(3)
    assert [network(x).sum().item() for network in networks[:2]] == [6, 9]
    with pytest.raises(Exception, match="recompile_limit"):
        networks[2](x)


def test_off_leaves_the_network_and_the_compiler_as_they_are() -> None:
    network = Scale(2)
    compile_in_place(network, "off")
    assert network._compiled_call_impl is None
    assert torch._dynamo.config.recompile_limit == 8
    assert not torch._dynamo.config.fail_on_recompile_limit_hit


@pytest.mark.parametrize("mode", ["default", "max-autotune"])
def test_what_torch_is_told(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode's own options, the faster tanh, and shapes that are fixed: every shape is timed as it is."""
    told: dict[str, Any] = {}
    network = Scale(2)
    monkeypatch.setattr(network, "compile", lambda **arguments: told.update(arguments))
    compile_in_place(network, mode)
    options = told.pop("options")
    assert told == {"dynamic": False}
    assert options.pop("cpp.use_decompose_tanh") is True
    assert options == torch._inductor.list_mode_options(mode)
    assert ("max_autotune" in options) == (mode == "max-autotune")


def test_many_runs_of_a_process_do_not_fill_what_the_compiler_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "RECOMPILE_LIMIT", 2)
    compile_in_place(Scale(1), "default")  # sets the limit; what follows is traced only, which is quick
    x = torch.ones(3)
    for factor in range(2, 7):
        forget_compiled_code()
        network = Scale(factor)
        network.compile(backend="eager", dynamic=False)
        assert network(x).tolist() == [factor] * 3
