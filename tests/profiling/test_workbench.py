"""The three pieces of work that are timed: in which mode the network is, what it is called with, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stbench.backbones.base import Conditioning
from stbench.backbones.latte import Latte
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.profiling.workload import Workload
from stbench.records.sections import Energy
from stbench.runtime.device import Runtime

TINY: dict[str, Any] = {"hidden_size": 16, "depth": 2, "num_heads": 2, "sample_size": 8, "num_frames": 4}
RUNTIME = Runtime(torch.device("cpu"), "float32", "math")


def workbench(objective: str = "ddpm", joint_images: int = 0) -> tuple[Workbench, list[dict[str, Any]]]:
    """A workbench of three clips, and a list that grows by a line with every call of its network."""
    calls: list[dict[str, Any]] = []

    def note(module: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        conditioning = next(value for value in inputs if isinstance(value, Conditioning))
        calls.append(
            {
                "shape": tuple(inputs[0].shape),
                "training": module.training,
                "grad": output.requires_grad,
                "images": conditioning.num_images,
            }
        )

    def construct() -> Latte:
        latte = Latte(**TINY, num_classes=3, learned_variance=objective == "ddpm")
        latte.register_forward_hook(note)
        return latte

    subject = Subject(construct, Workload((4, 4, 8, 8), num_classes=3, joint_images=joint_images))
    return Workbench(subject, Conditions(RUNTIME, objective, batch_size=3)), calls


def test_a_forward_pass_evaluates_without_gradients() -> None:
    bench, calls = workbench()
    bench.work("forward")()
    assert calls == [{"shape": (3, 4, 4, 8, 8), "training": False, "grad": False, "images": 0}]


@pytest.mark.parametrize("objective", ["ddpm", "flow"])
def test_a_sampling_step_evaluates_once_without_gradients(objective: str) -> None:
    bench, calls = workbench(objective)
    bench.work("sampling_step")()
    assert calls == [{"shape": (3, 4, 4, 8, 8), "training": False, "grad": False, "images": 0}]


@pytest.mark.parametrize("objective", ["ddpm", "flow"])
def test_a_training_step_moves_the_weights(objective: str) -> None:
    bench, calls = workbench(objective)
    bench.backbone.final.linear.bias.data.normal_()
    before = [parameter.clone() for parameter in bench.backbone.parameters()]
    bench.work("train_step")()
    assert calls == [{"shape": (3, 4, 4, 8, 8), "training": True, "grad": True, "images": 0}]
    after = list(bench.backbone.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_joint_images_are_trained_with_and_not_sampled() -> None:
    bench, calls = workbench(joint_images=2)
    for step in ("forward", "train_step", "sampling_step"):
        bench.work(step)()
    assert [(call["shape"][2], call["images"]) for call in calls] == [(4, 0), (6, 2), (4, 0)]


def test_peaks_are_those_of_a_step_after_the_first() -> None:
    """The optimizer's state is made in the first step, outside of what is measured."""
    bench, calls = workbench()
    memory = bench.peaks()
    assert len(calls) == 2
    assert memory.peak_rss_mib is not None and memory.peak_rss_mib > 0
    assert (memory.peak_allocated_mib, memory.peak_reserved_mib) == (None, None)
    assert memory.peak_rss_source in ("VmHWM", "ru_maxrss")


def test_where_no_device_tells_its_energy_nothing_is_run() -> None:
    bench, calls = workbench()
    assert bench.energy() == Energy(train_step_j=None, source=None)
    assert calls == []
