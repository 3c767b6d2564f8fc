"""A table of broken backbones, each with the rule that it breaks and what is said of it."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.contract import RULES, examine
from stbench.backbones.trial import Task
from stbench.runtime.device import Runtime

WIDTH = 8
FLOW = Task(
    latent_shape=(3, 4, 8, 8),
    num_classes=5,
    learned_variance=False,
    whole_timesteps=False,
    batch_size=3,
    joint_images=0,
    runtime=Runtime(torch.device("cpu"), "float32", "math"),
)


class Sound(nn.Module):
    """A backbone that keeps every rule: two convolutions, told the timestep and the class."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.enter, self.leave = (nn.Conv3d(*pair, 3, padding=1) for pair in ((3, WIDTH), (WIDTH, 3)))
        self.time, self.label = nn.Linear(1, WIDTH), nn.Embedding(num_classes + 1, WIDTH)
        nn.init.zeros_(self.leave.weight)  # as diffusion networks start; it must not hide anything

    def condition(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """What every place of the features is told: (B, D, 1, 1, 1)."""
        told = self.time(timesteps[:, None].float() / 1000) + self.label(conditioning.class_labels)
        return told[:, :, None, None, None]

    def features(self, x: Tensor) -> Tensor:
        return self.enter(x)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Any:
        return self.leave((self.features(noisy_latents) + self.condition(timesteps, conditioning)).tanh())


Way = Callable[[Sound, Tensor, Tensor, Conditioning], Any]
sound = Sound.forward


def going(way: Way) -> Callable[[], nn.Module]:
    """A network that goes about its forward in another way."""

    class Altered(Sound):
        def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Any:
            return way(self, noisy_latents, timesteps, conditioning)

    return Altered


class FrameTimesteps(Sound):
    """One that takes timesteps of frames, and adds them up."""

    per_frame_timesteps = True

    def condition(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return super().condition(timesteps.sum(dim=1) if timesteps.ndim == 2 else timesteps, conditioning)


class Unbuildable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.width = dict[str, int]()["width"]


class NoConditioning(Sound):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        return x


class TrainReturnsNothing(Sound):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


class DropoutStaysOn(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> DropoutStaysOn:
        super().train(mode)
        self.drop.train()
        return self


class UnusedLayer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(4, 4)


class NoNullClass(Sound):
    def __init__(self, num_classes: int = 5) -> None:
        super().__init__(num_classes - 1)


class TimestepTable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, WIDTH)

    def condition(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return super().condition(timesteps, conditioning) + self.table(timesteps.long())[:, :, None, None, None]


class NormOfBatches(Sound):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(WIDTH, **options)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class Counting(Sound):
    """Counts its calls in a buffer, in training, or always."""

    calls: Tensor

    def __init__(self, persistent: bool, always: bool = False) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1), persistent=persistent)
        self.always = always

    def features(self, x: Tensor) -> Tensor:
        if self.training or self.always:
            self.calls += 1
        return super().features(x)


class DrawnOutside(Sound):
    """Random projection that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(3)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x * self.projection[:, None, None, None])


class LateLayer(Sound):
    def features(self, x: Tensor) -> Tensor:
        self.late = nn.Conv3d(3, WIDTH, 1)
        return super().features(x) + self.late(x)


class LazyLayer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.LazyConv3d(WIDTH, 3, padding=1)


class OwnNames(Sound):
    count = 0

    def __init__(self) -> None:
        super().__init__()
        OwnNames.count += 1
        self.add_module(f"layer{OwnNames.count}", nn.Linear(1, 1, bias=False))

    def features(self, x: Tensor) -> Tensor:
        (name,) = [name for name, _ in self.named_children() if name.startswith("layer")]
        return super().features(self.get_submodule(name)(x[..., None])[..., 0])


class Remembering(Sound):
    last: Tensor | None = None

    def features(self, x: Tensor) -> Tensor:
        now = super().features(x)
        self.last, before = now, self.last
        return now if before is None or before.shape != now.shape else now + 0.1 * before.detach()


class PlainList(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.more = [nn.Conv3d(WIDTH, WIDTH, 1)]

    def features(self, x: Tensor) -> Tensor:
        return self.more[0](super().features(x))


class HoldsItself(Sound):
    """Calls itself by a function that a copy shares with it."""

    def __init__(self) -> None:
        super().__init__()
        self.project = lambda x: self.enter(x)

    def features(self, x: Tensor) -> Tensor:
        return self.project(x)


class HoldsLock(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class OwnGenerator(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.draws = np.random.default_rng(0)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * (self.draws.random() if self.training else 0.5)


def changed(name: str) -> Way:
    """Writes into one of its inputs."""

    def way(self: Sound, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        written = {"noisy_latents": x, "timesteps": t, "class_labels": conditioning.class_labels}[name]
        out = sound(self, x, t, conditioning)
        written.zero_()
        return out

    return way


def with_features(change: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A network whose features go through a function."""

    class Altered(Sound):
        def features(self, x: Tensor) -> Tensor:
            return change(super().features(x))

    return Altered


def told(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[], nn.Module]:
    """A network that takes timesteps and labels for others."""

    class Altered(Sound):
        def condition(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            assert conditioning.class_labels is not None
            timesteps, labels = change(timesteps, conditioning.class_labels)
            return super().condition(timesteps, Conditioning(labels))

    return Altered


def leave(self: Sound, x: Tensor, t: Tensor, c: Conditioning) -> Tensor:
    sys.exit(0)


def fail(self: Sound, x: Tensor, t: Tensor, c: Conditioning) -> Tensor:
    raise ValueError("too narrow\nby far")


BROKEN: list[tuple[str, Callable[[], Any], str, str]] = [
    ("no module", object, "builds", "AttributeError: 'object' object has no attribute 'to'"),
    ("KeyError in the constructor", Unbuildable, "builds", r"KeyError: 'width' \(.*test_rules.py:\d+\)"),
    ("two arguments", NoConditioning, "answers", r"forward\(x.*, t.*\).* is not called as forward\(noisy_latents, "),
    ("tuple", going(lambda *a: (sound(*a), None)), "shape", "^returned tuple, expected a tensor"),
    ("None", going(lambda *a: None), "shape", "^returned NoneType"),
    (
        "tuple in training",
        going(lambda *a: (sound(*a),) if a[0].training else sound(*a)),
        "shape",
        "^in training returned tuple",
    ),
    ("layer made in forward", LateLayer, "answers", "forward adds late.weight, late.bias: make them in"),
    ("remembers the last input", Remembering, "repeats", "dropout, or something kept?"),
    ("names of its own", OwnNames, "state dict", r"has other names in it: layer\d+.weight, layer"),
    ("lazy layer", LazyLayer, "builds", "uninitialized parameter"),
    ("sys.exit", going(leave), "answers", r"SystemExit: 0 \(.*test_rules.py:\d+\)"),
    ("own error", going(fail), "answers", r"ValueError: too narrow \(.*test_rules.py:\d+\)"),
    ("one frame too few", going(lambda *a: sound(*a)[:, :, 1:]), "shape", r"\(2, 3, 3, 8, 8\), expected .*4, 8, 8\)"),
    ("one frame for all", going(lambda *a: sound(*a)[:, :, :1]), "shape", r"returned \(2, 3, 1, 8, 8\), exp"),
    ("one clip for all", going(lambda *a: sound(*a)[:1]), "shape", r"returned \(1, 3, 4, 8, 8\), exp"),
    ("2C channels", going(lambda *a: sound(*a).repeat(1, 2, 1, 1, 1)), "shape", "learned_variance=False"),
    ("integers", going(lambda *a: sound(*a).long()), "shape", "torch.int64, expected floating"),
    ("NaN", going(lambda *a: sound(*a) * torch.nan), "finite", "1536 of 1536 predicted values are not finite"),
    ("train() returns None", TrainReturnsNothing, "modes", r"train\(\) returns something else .* `return self`"),
    ("eval() leaves dropout on", DropoutStaysOn, "modes", r"eval\(\) leaves drop in train mode"),
    ("detached", going(lambda *a: sound(*a).detach()), "gradients", "carries no gradient"),
    ("unused layer", UnusedLayer, "gradients", "20 of .* parameters get none: spare.weight, spare.bias"),
    ("writes latents", going(changed("noisy_latents")), "inputs untouched", "evaluation writes into noisy_latents"),
    ("writes timesteps", going(changed("timesteps")), "inputs untouched", "writes into timesteps"),
    ("writes labels", going(changed("class_labels")), "inputs untouched", "writes into class_labels"),
    ("dropout as a function", with_features(F.dropout), "repeats", "dropout, or something kept?"),
    ("noise by numpy", going(lambda *a: sound(*a) * (1 + 0.01 * np.random.rand())), "repeats", "% apart"),
    ("seeds torch", going(lambda *a: (torch.manual_seed(0), sound(*a))[1]), "repeats", "global generator, or seeds it"),
    ("mean over the batch", with_features(lambda h: h - h.mean(0)), "clips apart", "clips see each other"),
    ("earlier clips", with_features(lambda h: h.cumsum(0)), "clips apart", "clips see each other"),
    ("no running statistics", lambda: NormOfBatches(track_running_stats=False), "clips apart", "clips see each other"),
    ("counts and forgets", lambda: Counting(persistent=False), "buffers", "calls change.*not in the state dict"),
    ("counts in evaluation", lambda: Counting(True, always=True), "buffers", "evaluation changes calls"),
    ("timestep ignored", told(lambda t, labels: (0 * t, labels)), "timestep", "not depend on the timestep"),
    ("timesteps of frames", FrameTimesteps, "frame timesteps", "equal timesteps of all frames predict otherwise"),
    ("timestep table", TimestepTable, "timestep range", r"at the timesteps 0.0 and 1000.0: IndexError"),
    ("infinite at 0", told(lambda t, labels: (t * t / t, labels)), "timestep range", "not finite at the timesteps 0.0"),
    ("class ignored", told(lambda t, labels: (t, 0 * labels)), "class", "does not depend on the class"),
    ("no null class", NoNullClass, "null class", "label 5, the null class: IndexError: index out of range"),
    ("null class is a class", told(lambda t, labels: (t, labels % 5)), "class", "label 5, predicts as another class"),
    (
        "first frame alone",
        going(lambda s, x, t, c: sound(s, x[:, :, :1].expand_as(x), t, c)),
        "every frame",
        "does not depend on frame 1, frame 2, frame 3",
    ),
    (
        "two channels",
        going(lambda s, x, t, c: sound(s, torch.cat([x[:, :2], x[:, :1]], 1), t, c)),
        "every channel",
        "does not depend on channel 2",
    ),
    (
        "batch of two",
        with_features(lambda h: h.reshape(2, 8, 4, 8, 8)),
        "batch sizes",
        "at a batch of 1: RuntimeError: shape",
    ),
    ("squeeze", going(lambda *a: sound(*a).squeeze(0)), "batch sizes", r"batch of 1 returned \(3, 4, 8, 8\)"),
    ("size of the batch", going(lambda *a: sound(*a) * len(a[1])), "batch sizes", "batch of 1 gives other predictions"),
    ("no bfloat16", with_features(lambda h: h.lerp(torch.ones(h.shape), 0.5)), "precisions", "in bfloat16: Runtime"),
    ("plain list of layers", PlainList, "gradients", "72 values are trained that are no parameters.*nn.ModuleList"),
    ("generator of its own", OwnGenerator, "repeats", "in training.*torch's global generator"),
    ("holds itself", HoldsItself, "copy", r"goes through enter.weight, enter.bias of the original"),
    ("holds a lock", HoldsLock, "copy", "copy.deepcopy: TypeError: cannot pickle"),
    ("state outside", DrawnOutside, "state dict", "predicts otherwise: some state is not in it"),
]


@pytest.mark.parametrize(("build", "rule", "said"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_backbone_fails_the_rule_that_it_breaks(build: Callable[[], Any], rule: str, said: str) -> None:
    failed = {verdict.name: verdict.reason for verdict in examine(build, FLOW) if verdict.status == "failed"}
    assert rule in failed
    assert re.search(said, failed[rule]), failed[rule]
    assert "\n" not in failed[rule]


def test_every_rule_has_a_network_that_breaks_it() -> None:
    assert {rule.name for rule in RULES} == {rule for _, _, rule, _ in BROKEN} | {"joint images"}


def verdicts(build: Callable[[], nn.Module], task: Task = FLOW) -> dict[str, tuple[str, str]]:
    return {verdict.name: (verdict.status, verdict.reason) for verdict in examine(build, task)}


def test_a_sound_backbone_keeps_all_rules() -> None:
    found = verdicts(Sound)
    assert {name: status for name, (status, _) in found.items()} == {
        rule.name: "n/a" if rule.name in ("joint images", "frame timesteps") else "passed" for rule in RULES
    }
    assert found["joint images"][1] == "train.joint_images=0"
    assert found["shape"][1] == "(2, 3, 4, 8, 8), float32"
    assert found["gradients"][1] == "reach all 7 tensors"
    assert found["batch sizes"][1] == "equal at 1, 2, 3"


def test_batch_norm_is_allowed_and_told() -> None:
    found = verdicts(NormOfBatches)
    assert {status for status, _ in found.values()} == {"passed", "note", "n/a"}
    assert found["clips apart"] == (
        "note",
        "in training clips of a batch see each other (batch norm?): train.batch_size moves figures",
    )
    assert found["buffers"][0] == "note"
    assert found["buffers"][1].startswith("3 follow training (norm.running_mean, norm.running_var, ")


def test_state_that_follows_training_is_no_clip_that_sees_another() -> None:
    def normed() -> nn.Module:
        network = Sound()
        nn.utils.parametrizations.spectral_norm(network.enter)
        return network

    verdicts = {verdict.name: verdict for verdict in examine(normed, FLOW)}
    unasked = {"joint images", "frame timesteps"}
    assert {name for name, verdict in verdicts.items() if verdict.status != "passed"} == {*unasked, "buffers"}


def test_frozen_parameters_need_no_gradient() -> None:
    def build() -> nn.Module:
        network = UnusedLayer()
        network.spare.requires_grad_(False)
        return network

    found = verdicts(build)
    assert found["gradients"] == ("passed", "reach all 7 tensors")
    assert found["builds"] == ("passed", "0.00 M parameters, 0.00 M frozen")
    assert verdicts(lambda: Sound().requires_grad_(False))["gradients"][0] == "failed"


def test_a_gradient_of_zero_is_told() -> None:
    """A bias before a norm may have one, and does no harm."""
    assert verdicts(with_features(lambda h: h * 0))["gradients"] == (
        "note",
        "exactly zero in enter.weight, enter.bias: does a norm take away what it adds?",
    )


def test_stochastic_depth_is_not_a_missing_gradient() -> None:
    """A block that is left out of a pass is there in the next."""

    class Sometimes(Sound):
        passes = 0

        def features(self, x: Tensor) -> Tensor:
            type(self).passes += self.training
            return super().features(x) * (0 if self.training and self.passes % 2 else 1)

    assert verdicts(Sometimes)["gradients"][0] == "passed"


def test_frames_that_do_not_see_each_other_are_told() -> None:
    class ByFrame(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = (nn.Conv3d(*pair, (1, 3, 3), padding=(0, 1, 1)) for pair in ((3, 8), (8, 3)))

    assert verdicts(ByFrame)["every frame"][0] == "note"
    assert verdicts(Sound)["every frame"] == ("passed", "counts, and frames see each other")


def test_a_network_that_takes_no_classes_is_unconditional() -> None:
    class Unconditional(Sound):
        def __init__(self) -> None:
            super().__init__(0)

        def condition(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            return super().condition(timesteps, Conditioning(timesteps.long() * 0))

    class Fixed(Sound):
        def __init__(self) -> None:
            super().__init__(5)

    status, reason = verdicts(Unconditional)["class"]
    assert (status, "does not take num_classes" in reason) == ("n/a", True)
    assert verdicts(Fixed)["class"] == ("passed", "counts, and so does the null class")
    assert verdicts(Sound, replace(FLOW, num_classes=0))["answers"][0] == "failed"  # it wants labels that nobody has


def joint(mixing: bool, task_images: int = 2) -> dict[str, tuple[str, str]]:
    """A network that takes appended images, and lets them mix with the clip or not."""

    class Joint(Sound):
        def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Any:
            K = conditioning.num_images
            parts = [noisy_latents] if mixing else list(noisy_latents.split([noisy_latents.shape[2] - K] + [1] * K, 2))
            return torch.cat([sound(self, part, timesteps, conditioning) for part in parts], dim=2)

    return verdicts(Joint, replace(FLOW, joint_images=task_images))


def test_joint_images() -> None:
    assert joint(mixing=False)["joint images"] == ("passed", "2 images and the clip do not see each other")
    assert joint(mixing=True)["joint images"] == (
        "failed",
        "an image moves the prediction of the clip, or of another image",
    )


def test_under_ddpm_timesteps_are_whole_and_the_variance_is_learned() -> None:
    def twice(self: Sound, x: Tensor, t: Tensor, c: Conditioning) -> Tensor:
        assert t.dtype == torch.int64
        return sound(self, x, t, c).repeat(1, 2, 1, 1, 1)

    ddpm = replace(FLOW, learned_variance=True, whole_timesteps=True)
    found = verdicts(going(twice), ddpm)
    assert found["shape"] == ("passed", "(2, 6, 4, 8, 8), float32")
    assert found["timestep range"] == ("passed", "finite from 0 to 999")
    assert verdicts(TimestepTable, ddpm)["shape"][1].endswith("(learned_variance=True)")
