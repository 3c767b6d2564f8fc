"""The rules of the contract, one function each: what a network does when it is asked, and the answer in one line."""

from __future__ import annotations

import copy as copying
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stbench.backbones.trial import MODES, Inputs, Trial
from stbench.errors import StbenchError, error_with_place
from stbench.runtime.attention.attend import set_attention_backend
from stbench.runtime.device import PRECISIONS
from stbench.runtime.machine import is_out_of_memory

Status = Literal["passed", "failed", "note", "n/a"]
Answer = tuple[Status, str]

# Differences as shares of the largest value. Equal shapes go through equal kernels; other batch sizes may not.
ROUNDING = 1e-5
ROUNDING_OF_KERNELS = {"float32": 1e-3, "bfloat16": 1e-1}
GRADIENT_PASSES = 3  # stochastic depth leaves a block out of a pass now and then
NAMES_SHOWN = 3


class Broken(StbenchError):
    """What a network did under circumstances that the message names."""


def builds(trial: Trial) -> Answer:
    """It can be built and put on the device."""
    trained = sum(p.numel() for p in trial.backbone.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in trial.backbone.parameters() if not p.requires_grad)
    return "passed", f"{trained / 1e6:.2f} M parameters" + (f", {frozen / 1e6:.2f} M frozen" if frozen else "")


def answers(trial: Trial) -> Answer:
    """It takes (noisy_latents, timesteps, conditioning), and all that it is made of was there before."""
    parameters = inspect.signature(trial.backbone.forward)
    try:
        parameters.bind(*trial.inputs(1))
    except TypeError:
        return "failed", f"forward{parameters} is not called as forward(noisy_latents, timesteps, conditioning)"
    before = _names(trial.backbone)
    with torch.no_grad():
        trial.forward(trial.inputs(2))
    if added := [name for name in _names(trial.backbone) if name not in before]:
        return "failed", f"forward adds {_some(added)}: make them in the constructor"
    return "passed", "forward(noisy_latents, timesteps, conditioning)"


def shape(trial: Trial) -> Answer:
    """The prediction is a tensor (B, C or 2C, F, H, W) of real numbers, where the latents are; in training as well."""
    expected = trial.task.prediction_shape(2)
    for mode in MODES:
        returned = "returned" if mode == "evaluation" else "in training returned"
        with trial.mode(mode), torch.no_grad():
            out = trial.forward(trial.inputs(2))
        if not isinstance(out, Tensor):
            return "failed", f"{returned} {type(out).__name__}, expected a tensor"
        if out.shape != expected:
            variance = "" if out.shape[1:2] == expected[1:2] else f" (learned_variance={trial.task.learned_variance})"
            return "failed", f"{returned} {tuple(out.shape)}, expected (B, C, F, H, W) = {expected}{variance}"
        if not out.is_floating_point():
            return "failed", f"{returned} {out.dtype}, expected floating point numbers"
        if out.device != trial.inputs(1).latents.device:
            return "failed", f"{returned} on {out.device}, expected on {trial.task.runtime.device}"
    return "passed", f"{expected}, {str(out.dtype).removeprefix('torch.')}"


def finite(trial: Trial) -> Answer:
    """The prediction is finite."""
    bad = int((~trial.prediction.isfinite()).sum())
    if bad:
        return "failed", f"{bad} of {trial.prediction.numel()} predicted values are not finite"
    return "passed", "all predicted values"


def modes(trial: Trial) -> Answer:
    """`train()` and `eval()` switch, and return the network."""
    backbone = trial.backbone
    for mode, switch in (("train", backbone.train), ("eval", backbone.eval)):
        if switch() is not backbone:
            return "failed", f"{mode}() returns something else than the network: end it with `return self`"
        if backbone.training != (mode == "train"):
            return "failed", f"{mode}() leaves training={backbone.training}"
    left = [name for name, module in backbone.named_modules() if module.training]
    if left:
        return "failed", f"eval() leaves {_some(left)} in train mode"
    return "passed", "train() and eval() switch"


def gradients(trial: Trial) -> Answer:
    """In a training step every parameter that is not frozen gets a gradient, and a finite one."""
    named = {name: each for name, each in trial.backbone.named_parameters() if each.requires_grad}
    if not named:
        return "failed", "no parameter requires a gradient, so nothing can be trained"
    with trial.training(), torch.enable_grad():
        for _ in range(GRADIENT_PASSES):
            out = trial.forward(trial.inputs(2, trial.task.joint_images))
            if not out.requires_grad:
                return "failed", "the prediction carries no gradient: detached, or made under no_grad?"
            if hidden := _learning(out) - set(trial.backbone.parameters()):
                values = sum(each.numel() for each in hidden)
                return "failed", f"{values:,} values are trained that are no parameters: lists belong in nn.ModuleList"
            out.backward(torch.randn_like(out))
            if all(each.grad is not None and each.grad.count_nonzero() for each in named.values()):
                break
        found = {name: each.grad for name, each in named.items() if each.grad is not None}
    if missing := [name for name in named if name not in found]:
        values, total = sum(named[name].numel() for name in missing), sum(each.numel() for each in named.values())
        return "failed", f"{values:,} of {total:,} parameters get none: {_some(missing)}: use, remove or freeze them"
    if wild := [name for name, gradient in found.items() if not gradient.isfinite().all()]:
        return "failed", f"not finite in {_some(wild)}"
    if dead := [name for name, gradient in found.items() if not gradient.count_nonzero()]:
        return "note", f"exactly zero in {_some(dead)}: does a norm take away what it adds?"
    return "passed", f"reach all {len(named)} tensors"


def untouched(trial: Trial) -> Answer:
    """Neither latents nor conditioning are written into."""
    for mode in MODES:
        given = trial.inputs(2)
        with trial.mode(mode):
            trial.predict(given)
        fresh = trial.inputs(2).tensors()
        changed = [name for name, tensor in given.tensors().items() if not torch.equal(tensor, fresh[name])]
        if changed:
            return "failed", f"{mode} writes into {_some(changed)}: work on a copy"
    return "passed", "latents, timesteps and conditioning are left as they were"


def repeats(trial: Trial) -> Answer:
    """In evaluation mode the same input gives the same prediction, and nothing is drawn; in training by torch alone."""
    device = trial.task.runtime.device
    torch.manual_seed(1)
    before = _random_state(device)
    first = trial.predict(trial.inputs(2))
    drawn = not torch.equal(before, _random_state(device))
    torch.manual_seed(2)
    trial.predict(trial.inputs(3).rows([2, 0]))  # what is kept of another input
    apart = _apart(first, trial.predict(trial.inputs(2)))
    if apart > ROUNDING:
        return "failed", f"twice the same input, and predictions {_share(apart)} apart: dropout, or something kept?"
    if drawn:
        return "failed", "evaluation draws from torch's global generator, or seeds it"
    if _apart(*(_seeded_in_training(trial, trial.inputs(2)) for _ in range(2))) > ROUNDING:
        return "failed", "in training it draws from something else than torch's global generator, which a run seeds"
    return "passed", "the same prediction twice"


def clips_apart(trial: Trial) -> Answer:
    """The prediction of a clip does not depend on the other clips of its batch."""
    both, three = trial.prediction, trial.inputs(3)
    apart = max(
        _apart(both[0], trial.predict(three.rows([0, 2]))[0]),
        _apart(both[1], trial.predict(three.rows([2, 1]))[1]),
    )
    if apart > ROUNDING:
        return "failed", f"another clip in the batch moves a prediction by {_share(apart)}: clips see each other"
    alone, beside = (_seeded_in_training(trial, three.rows(rows))[0] for rows in ([0, 1], [0, 2]))
    if _apart(alone, beside) > ROUNDING:
        return "note", "in training clips of a batch see each other (batch norm?): train.batch_size moves figures"
    return "passed", "a prediction is the same beside other clips"


def timestep_range(trial: Trial) -> Answer:
    """The prediction is finite at the first and the last timestep that training and sampling hand on."""
    lowest, highest = trial.task.timestep_range
    with _when(f"at the timesteps {lowest} and {highest}"):
        out = trial.predict(trial.inputs(2).at((lowest, highest)))
    if not out.isfinite().all():
        return "failed", f"not finite at the timesteps {lowest} and {highest}"
    return "passed", f"finite from {lowest} to {highest}"


def timestep(trial: Trial) -> Answer:
    """The prediction depends on the timestep."""
    if not _moved(trial.predict(trial.inputs(2).at(trial.task.timestep_range)), trial.prediction):
        return "failed", "the prediction does not depend on the timestep"
    return "passed", "counts"


def null_class(trial: Trial) -> Answer:
    """There is one class more than the dataset has, for clips whose class is dropped and for guidance."""
    if not (null := trial.task.num_classes):
        return "n/a", "the dataset has no classes"
    with _when(f"label {null}, the null class"):
        out = trial.predict(_with_labels(trial, null, null))
    if not out.isfinite().all():
        return "failed", f"not finite for label {null}, the null class"
    return "passed", f"label {null}"


def frame_timesteps(trial: Trial) -> Answer:
    """Timesteps of single frames, where it takes them, mean what one of the clip means."""
    if not getattr(trial.backbone, "per_frame_timesteps", False):
        return "n/a", "one timestep a clip (per_frame_timesteps)"
    given, F = trial.inputs(2), trial.task.latent_shape[1]
    with _when("with a timestep for each frame"):
        out = trial.predict(given._replace(timesteps=given.timesteps[:, None].repeat(1, F)))
    if _apart(trial.prediction, out) > ROUNDING_OF_KERNELS[trial.task.runtime.precision]:
        return "failed", "equal timesteps of all frames predict otherwise than one timestep of the clip"
    return "passed", "one for each frame, or one for all"


def class_label(trial: Trial) -> Answer:
    """The prediction depends on the class, and the null class is another one."""
    if not (null := trial.task.num_classes):
        return "n/a", "the dataset has no classes"
    others = (1, 0) if null > 1 else (null, null)  # the base has the classes 0 and 1
    if not _moved(trial.predict(_with_labels(trial, *others)), trial.prediction):
        if "num_classes" not in inspect.signature(type(trial.backbone)).parameters:
            return "n/a", "the constructor does not take num_classes: the network is unconditional"
        return "failed", "the prediction does not depend on the class"
    if not _moved(trial.predict(_with_labels(trial, null, null)), trial.prediction):
        return "failed", f"the null class, label {null}, predicts as another class does"
    return "passed", "counts, and so does the null class"


def every_frame(trial: Trial) -> Answer:
    """The prediction depends on every frame; whether frames see each other is the variant's affair, and told."""
    F, mixed, ignored = trial.task.latent_shape[1], False, []
    base = trial.predict(trial.inputs(1))
    for frame in range(F):
        changed = _apart_by_frame(base, trial.predict(trial.inputs(1).with_noise(2, frame)))
        ignored += [] if changed.any() else [f"frame {frame}"]
        mixed |= bool(changed[torch.arange(F) != frame].any())
    if ignored:
        return "failed", f"the prediction does not depend on {_some(ignored)}"
    if not mixed and F > 1:
        return "note", "counts; but frames do not see each other: each is predicted by itself"
    return "passed", "counts, and frames see each other"


def every_channel(trial: Trial) -> Answer:
    """The prediction depends on every channel of the latents."""
    channels, base = range(trial.task.latent_shape[0]), trial.predict(trial.inputs(1))
    shifted = {channel: trial.predict(trial.inputs(1).with_noise(1, channel)) for channel in channels}
    ignored = [f"channel {channel}" for channel, out in shifted.items() if not _moved(out, base)]
    if ignored:
        return "failed", f"the prediction does not depend on {_some(ignored)}"
    return "passed", f"all {len(channels)} count"


def batch_sizes(trial: Trial) -> Answer:
    """It works at any batch size, and predicts the same."""
    rounding = ROUNDING_OF_KERNELS[trial.task.runtime.precision]
    sizes = sorted({1, 2, trial.task.batch_size})
    for size in sizes:
        with _when(f"at a batch of {size}"):
            out = trial.predict(trial.inputs(size))
        if out.shape != trial.task.prediction_shape(size):
            return "failed", f"at a batch of {size} returned {tuple(out.shape)}"
        if _apart(trial.prediction[0], out[0]) > rounding:
            return "failed", f"a batch of {size} gives other predictions than a batch of 2"
    return "passed", f"equal at {', '.join(map(str, sizes))}"


def precisions(trial: Trial) -> Answer:
    """It predicts finite numbers in float32 and in bfloat16."""
    runtime, out = trial.task.runtime, {}
    set_attention_backend(trial.backbone, "math")  # not every backend knows both
    try:
        for precision in PRECISIONS:
            with _when(f"in {precision}"):
                out[precision] = trial.predict(trial.inputs(2), runtime=replace(runtime, precision=precision))
            if not out[precision].isfinite().all():
                return "failed", f"not finite in {precision}"
    finally:
        set_attention_backend(trial.backbone, trial.task.attention)
    return "passed", f"float32 and bfloat16, {_share(_apart(out['float32'], out['bfloat16']))} apart"


def buffers(trial: Trial) -> Answer:
    """What changes beside the parameters changes in training only, and is in the state dict."""
    before = {name: buffer.clone() for name, buffer in trial.backbone.named_buffers()}
    trial.predict(trial.inputs(2))
    if moved := _moved_buffers(trial.backbone, before):
        return "failed", f"evaluation changes {_some(moved)}"
    with trial.training() as kept:
        trial.predict(trial.inputs(2))
        moved = _moved_buffers(trial.backbone, kept)
    lost = [name for name in moved if name not in trial.backbone.state_dict()]
    if lost:
        return "failed", f"{_some(lost)} change in training and are not in the state dict: persistent=True keeps them"
    if moved:
        return "note", f"{len(moved)} follow training ({_some(moved)}); averaged weights are judged with the newest"
    return "passed", "none changes"


def copy(trial: Trial) -> Answer:
    """A copy is a network of its own: the averaged weights, which are judged, live in one."""
    original = trial.build()
    with _when("copy.deepcopy"):
        copied = copying.deepcopy(original).eval()
    with _when("a copy"), torch.enable_grad():
        learning = _learning(trial.forward(trial.inputs(2), backbone=copied))
    if shared := [name for name, each in original.named_parameters() if each in learning]:
        return "failed", f"a copy goes through {_some(shared)} of the original: does a lambda or hook hold `self`?"
    return "passed", "a copy has weights of its own"


def state_dict(trial: Trial) -> Answer:
    """The state dict is the whole network: another one that loads it predicts the same."""
    state, other = trial.backbone.state_dict(), trial.build().eval()
    with _when("loading the state dict into another network"):
        names = [name for names in other.load_state_dict(state, strict=False) for name in names]
    if names:
        return "failed", f"another network has other names in it: {_some(names)}"
    if _apart(trial.prediction, trial.predict(trial.inputs(2), backbone=other)) > ROUNDING:
        return "failed", "another network with the same state dict predicts otherwise: some state is not in it"
    return "passed", f"{len(state)} tensors make the network"


def joint_images(trial: Trial) -> Answer:
    """Images appended to a clip are independent of it, and it of them."""
    task, K = trial.task, trial.task.joint_images
    if not K:
        return "n/a", "train.joint_images=0"
    F = task.latent_shape[1]
    with _when(f"with {K} images appended"):
        base = trial.predict(trial.inputs(1, K))
    if base.shape != task.prediction_shape(1, K):
        return "failed", f"returned {tuple(base.shape)}, expected {task.prediction_shape(1, K)}"
    by_image = _apart_by_frame(base, trial.predict(trial.inputs(1, K).with_noise(2, F)))
    by_clip = _apart_by_frame(base, trial.predict(trial.inputs(1, K).with_noise(2, 0)))
    if by_image[:F].any() or by_image[F + 1 :].any():
        return "failed", "an image moves the prediction of the clip, or of another image"
    if by_clip[F:].any():
        return "failed", "the clip moves the prediction of an image"
    return "passed", f"{K} images and the clip do not see each other"


@contextmanager
def _when(circumstances: str) -> Iterator[None]:
    """Name the circumstances of what goes wrong inside."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        raise Broken(f"{circumstances}: {error_with_place(error)}") from error


def _with_labels(trial: Trial, *labels: int) -> Inputs:
    given = trial.inputs(2)
    return given.labelled(torch.tensor(labels).to(given.timesteps.device))


def _learning(prediction: Tensor) -> set[Tensor]:
    """Every tensor that a gradient of the prediction would reach."""
    nodes, found = [prediction.grad_fn], set()
    seen = set(nodes)
    while nodes:
        node: Any = nodes.pop()
        if hasattr(node, "variable"):
            found.add(node.variable)
        reached = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= reached
        nodes += reached
    return found


def _seeded_in_training(trial: Trial, inputs: Inputs) -> Tensor:
    """The prediction in train mode, with equal dropout in each."""
    torch.manual_seed(1)
    with trial.training():
        return trial.predict(inputs)


def _names(backbone: nn.Module) -> list[str]:
    """Of parameters and buffers."""
    return [name for named in (backbone.named_parameters(), backbone.named_buffers()) for name, _ in named]


def _random_state(device: torch.device) -> Tensor:
    """State of the global generators that a call on `device` may draw from."""
    states = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
    return torch.cat(states)


def _apart(first: Tensor, second: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((first - second).abs().amax() / first.abs().amax().clamp(min=torch.finfo(torch.float32).tiny))


def _apart_by_frame(first: Tensor, second: Tensor) -> Tensor:
    """Of every frame of a prediction, whether it differs: (F,)."""
    largest = first.abs().amax()
    return ((first - second).abs().amax(dim=(0, 1, 3, 4)) > ROUNDING * largest).cpu()


def _moved(first: Tensor, second: Tensor) -> bool:
    """Whether the predictions differ, for each clip: equal shapes go through equal kernels, so any bit counts."""
    return bool((first != second).flatten(1).any(dim=1).all())


def _moved_buffers(backbone: nn.Module, before: dict[str, Tensor]) -> list[str]:
    return [name for name, now in backbone.named_buffers() if name in before and not torch.equal(before[name], now)]


def _share(value: float) -> str:
    return f"{100 * value:.2g} %"


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
