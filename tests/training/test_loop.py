"""The training loop: what a step draws, clips, decays and refuses."""

from __future__ import annotations

import csv
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.data.autoencoders import Autoencoder
from stbench.data.context import FrameContext
from stbench.data.embeddings import DIM, FrameEmbedding
from stbench.data.loading import Batch, training_batches
from stbench.data.strides import MixedStrides
from stbench.data.synthetic.shapes import Shapes
from stbench.runtime.device import Runtime
from stbench.settings.schema import DiffusionConfig, TrainConfig
from stbench.signals import ENDING, Interrupted, heeded
from stbench.training import loop
from stbench.training.checkpoint import TrainingState, list_checkpoints, load_checkpoint
from stbench.training.divergence import TrainingDiverged
from stbench.training.loop import (
    TrainingJob,
    learning_rate,
    new_state,
    train,
    training_step,
)
from stbench.training.loss_curve import LOSS_COLUMNS, StepLog

DATASET = Shapes(image_size=8, num_frames=4, frame_stride=1, num_shapes=1, shapes=["disc"], motions=["right", "left"])


class Recorder(nn.Module):
    """A linear backbone that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(3, 1, 1, 1))
        self.seen: list[tuple[Tensor, Tensor, Conditioning]] = []

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        self.seen.append((x.detach().clone(), timesteps.clone(), conditioning))
        return self.scale * x


def job(folder: Path, **options: object) -> TrainingJob:
    config = replace(TrainConfig(steps=4, batch_size=6, lr=1e-2, checkpoint_every=2), **options)  # type: ignore[arg-type]
    runtime = Runtime(torch.device("cpu"), "float32", "math")
    folder.mkdir(exist_ok=True)
    return TrainingJob(config, DiffusionConfig("flow"), 0, 2, runtime, Autoencoder(), folder, "hash", {})


def run(work: TrainingJob, backbone: nn.Module | None = None) -> Recorder:
    network = backbone or Recorder()
    batches = training_batches(DATASET, work.config.batch_size, work.seed, 0, work.config.steps)
    train(new_state(network, work.config), work, batches, lambda state, log: None)
    assert isinstance(network, Recorder)
    return network


def test_loss_curve_and_checkpoints(tmp_path: Path) -> None:
    run(job(tmp_path))
    with (tmp_path / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LOSS_COLUMNS
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000002.safetensors",
        "step-00000004.safetensors",
    ]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_network_that_reads_frames_is_told_no_class_and_now_and_then_nothing(tmp_path: Path, share: float) -> None:
    work = replace(job(tmp_path, class_dropout=share), num_classes=0, frame_context=FrameContext(FrameEmbedding()))
    for _, _, conditioning in run(work).seen:
        assert conditioning.class_labels is None
        assert conditioning.context is not None
        assert conditioning.context.shape == (6, 1, DIM)
        lengths = conditioning.context.norm(dim=-1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 1 - share))


def test_the_whole_text_of_a_loss_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTime:
        seconds = 0.25

        def __init__(self, device: torch.device) -> None:
            pass

        def __enter__(self) -> NoTime:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    logs = iter(
        StepLog(step=step, loss=1 / step, mse=0.5, vb=None, grad_norm=2.0, lr=0.01 * step) for step in (1, 2, 3)
    )

    def step(state: TrainingState, job: TrainingJob, batch: Batch) -> StepLog:
        state.step += 1
        return next(logs)

    monkeypatch.setattr(loop, "Stopwatch", NoTime)
    monkeypatch.setattr(loop, "training_step", step)
    run(job(tmp_path, steps=3))
    assert (tmp_path / "loss.csv").read_bytes().decode() == (
        "step,loss,mse,vb,grad_norm,lr,seconds\r\n"
        "1,1,0.5,,2,0.01,0.250000\r\n"
        "2,0.5,0.5,,2,0.02,0.250000\r\n"
        "3,0.3333333,0.5,,2,0.03,0.250000\r\n"
    )


def test_lines_after_the_checkpoint_are_written_anew(tmp_path: Path) -> None:
    """A run was killed in step 4, and the checkpoint it is resumed from is of step 2."""
    work = job(tmp_path)
    run(work)
    before = work.loss_curve.read_text().splitlines()
    work.loss_curve.write_text("\n".join([*before, "5,0.1"]))  # a line that was not finished
    state = new_state(Recorder(), work.config)
    load_checkpoint(state, list_checkpoints(work.checkpoints)[0], work.config_hash)
    assert state.step == 2
    train(state, work, training_batches(DATASET, 6, 0, first_step=2, num_steps=2), lambda state, log: None)
    after = work.loss_curve.read_text().splitlines()
    assert after[:3] == before[:3]
    assert [line.rpartition(",")[0] for line in after] == [line.rpartition(",")[0] for line in before]  # but seconds


class Dropping(nn.Module):
    """A backbone that draws from the global generator, as dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1, 1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self.dropout(self.scale * x)


def resumed(work: TrainingJob, network: nn.Module) -> TrainingState:
    """The state after the last step, resumed from the newest checkpoint."""
    state = new_state(network, work.config)
    load_checkpoint(state, list_checkpoints(work.checkpoints)[-1], work.config_hash)
    batches = training_batches(DATASET, 6, 0, state.step, work.config.steps - state.step)
    train(state, work, batches, lambda state, log: None)
    return state


def tensors(state: TrainingState) -> list[Tensor]:
    moments = [tensor for each in state.optimizer.state.values() for tensor in each.values()]
    return [*state.backbone.state_dict().values(), *state.ema.module.state_dict().values(), *moments]


@pytest.mark.parametrize("signum", ENDING)
@pytest.mark.parametrize("where", ["in the step", "after the step"])
def test_a_signal_ends_training_after_a_step_with_a_checkpoint_and_dropout_goes_on_bit_for_bit(
    signum: signal.Signals, where: str, tmp_path: Path
) -> None:
    work = job(tmp_path, checkpoint_every=100)
    straight = new_state(Dropping(), work.config)
    batches = training_batches(DATASET, 6, 0, 0, 4)
    (tmp_path / "straight").mkdir()
    train(straight, replace(work, folder=tmp_path / "straight"), batches, lambda state, log: None)

    state, told = new_state(Dropping(), work.config), []
    if where == "in the step":
        hook = lambda *_: signal.raise_signal(signum) if state.step == 2 else None  # noqa: E731
        state.backbone.register_forward_hook(hook)

    def after_step(state: TrainingState, log: StepLog) -> None:
        told.append(state.step)
        if where == "after the step" and state.step == 3:
            signal.raise_signal(signum)

    batches = training_batches(DATASET, 6, 0, 0, 4)
    with pytest.raises(Interrupted) as caught, heeded():
        train(state, work, batches, after_step)
    assert caught.value.exit_status == 128 + signum
    assert told == ([1, 2] if where == "in the step" else [1, 2, 3])
    assert [path.name for path in list_checkpoints(work.checkpoints)] == ["step-00000003.safetensors"]
    torch.manual_seed(123)  # another process draws other numbers
    assert all(map(torch.equal, tensors(resumed(work, Dropping())), tensors(straight)))
    assert len(work.loss_curve.read_text().splitlines()) == 1 + 4


def test_no_steps_leave_what_was_started_from(tmp_path: Path) -> None:
    run(job(tmp_path, steps=0))
    assert (tmp_path / "loss.csv").read_text() == "step,loss,mse,vb,grad_norm,lr,seconds\n"
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000000.safetensors"]


def test_every_step_is_told_with_its_loss(tmp_path: Path) -> None:
    work, told = job(tmp_path), []
    batches = training_batches(DATASET, 6, 0, 0, 4)
    train(new_state(Recorder(), work.config), work, batches, lambda state, log: told.append((state.step, log.loss)))
    with work.loss_curve.open() as file:
        rows = list(csv.DictReader(file))
    assert [step for step, _ in told] == [1, 2, 3, 4]
    assert [f"{loss:.7g}" for _, loss in told] == [row["loss"] for row in rows]


def test_one_step_is_adamw_on_the_clipped_gradient(tmp_path: Path) -> None:
    """Held against the optimizer called by hand with the inputs that the backbone saw."""
    work, network = job(tmp_path, gradient_clip_norm=0.01, weight_decay=0.1, ema_decay=0.9, lr=0.1), Recorder()
    with torch.no_grad():
        network.scale.fill_(0.5)
    state = new_state(network, work.config)
    (batch,) = training_batches(DATASET, 6, 0, 0, 1)
    log = training_step(state, work, batch)
    gradient = network.scale.grad
    assert gradient is not None
    assert gradient.norm().item() == pytest.approx(0.01, rel=1e-3)
    by_hand = nn.Parameter(torch.full((3, 1, 1, 1), 0.5))
    by_hand.grad = gradient.clone()
    torch.optim.AdamW([by_hand], lr=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(network.scale.detach(), by_hand.detach())
    torch.testing.assert_close(state.ema.module.scale, 0.9 * torch.full((3, 1, 1, 1), 0.5) + 0.1 * by_hand.detach())
    assert (log.step, state.step, log.lr, log.vb) == (1, 1, 0.1, None)
    assert log.loss == log.mse > 0
    assert log.grad_norm > 0.01  # as it was before clipping


def test_only_trainable_weights_are_trained() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    state = new_state(network, TrainConfig(lr=0.5, weight_decay=0.25))
    (group,) = state.optimizer.param_groups
    assert group["params"] == list(network[1].parameters())
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (0.5, 0.25, (0.9, 0.999), 1e-8)
    assert (state.step, network.training) == (0, True)


def test_every_step_draws_anew_and_every_run_the_same(tmp_path: Path) -> None:
    first, again = run(job(tmp_path)), run(job(tmp_path))
    for (x, t, c), (y, u, d) in zip(first.seen, again.seen, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(t, u)
        assert c.class_labels is not None
        assert d.class_labels is not None
        assert torch.equal(c.class_labels, d.class_labels)
    assert len({tuple(t.tolist()) for _, t, _ in first.seen}) == 4


def test_class_dropout_gives_the_null_class(tmp_path: Path) -> None:
    never, always = run(job(tmp_path, class_dropout=0.0)), run(job(tmp_path, class_dropout=1.0))
    assert {label for _, _, c in never.seen for label in c.class_labels.tolist()} == {0, 1}
    assert {label for _, _, c in always.seen for label in c.class_labels.tolist()} == {2}


def test_joint_images_are_frames_of_the_batch_with_their_labels(tmp_path: Path) -> None:
    """At timestep 0 nothing is noise, so the appended images can be looked up among the frames."""
    recorder = run(job(tmp_path, joint_images=3, class_dropout=0.0, steps=1, lr=0.0))
    x, timesteps, conditioning = recorder.seen[0]
    assert x.shape == (6, 3, 4 + 3, 8, 8)
    assert conditioning.num_images == 3
    assert conditioning.image_labels is not None
    assert conditioning.image_labels.shape == (6, 3)
    assert timesteps.shape == (6,)


def test_an_image_of_joint_training_has_the_label_of_its_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise (flow, time 0) an image is found among the frames of a clip, and that clip has the same label."""
    monkeypatch.setattr(loop, "sample_timesteps", lambda objective, count, *_: torch.zeros(count))
    recorder = run(job(tmp_path, joint_images=3, class_dropout=0.0, steps=1))
    x, _, conditioning = recorder.seen[0]
    labels, image_labels = conditioning.class_labels, conditioning.image_labels
    assert labels is not None
    assert image_labels is not None
    frames = x[:, :, :4].transpose(1, 2)  # (B, F, C, H, W)
    for row in range(6):
        for index in range(3):
            same = (frames == x[row, :, 4 + index]).flatten(2).all(dim=2).any(dim=1)  # by clip
            assert same.any()
            assert image_labels[row, index] in labels[same]


def test_labels_of_images_are_dropped_together_and_apart_from_that_of_their_clip(tmp_path: Path) -> None:
    recorder = run(job(tmp_path, joint_images=8, class_dropout=0.5, steps=8))
    clips = torch.cat([c.class_labels for _, _, c in recorder.seen if c.class_labels is not None]) == 2
    images = torch.cat([c.image_labels for _, _, c in recorder.seen if c.image_labels is not None]) == 2
    assert (clips.shape, images.shape) == ((48,), (48, 8))
    together = images[:, 0]
    assert torch.equal(images, together[:, None].expand(-1, 8))
    for half in (clips, together, clips == together):
        assert 12 <= half.sum() <= 36


def test_without_classes_there_are_no_labels(tmp_path: Path) -> None:
    work = replace(job(tmp_path, joint_images=2, steps=1), num_classes=0)
    network = Recorder()
    (batch,) = training_batches(DATASET, 6, 0, 0, 1)
    training_step(new_state(network, work.config), work, replace(batch, labels=None))
    _, _, conditioning = network.seen[0]
    assert (conditioning.class_labels, conditioning.image_labels, conditioning.num_images) == (None, None, 2)


def test_the_network_is_told_the_frame_rate_of_each_clip(tmp_path: Path) -> None:
    work, network = job(tmp_path, steps=1), Recorder()
    (batch,) = training_batches(MixedStrides(DATASET, (1, 4)), 6, 0, 0, 1)
    training_step(new_state(network, work.config), work, batch)
    _, _, conditioning = network.seen[0]
    assert conditioning.fps is not None
    assert sorted(set(conditioning.fps.tolist())) == [2, 8]
    assert run(job(tmp_path)).seen[0][2].fps is None


def test_no_limit_leaves_the_gradient_as_it_is(tmp_path: Path) -> None:
    norms = []
    for limit in (1e30, None):
        network = Recorder()
        run(job(tmp_path / str(limit), gradient_clip_norm=limit, steps=1), network)
        norms.append(network.scale.grad.norm().item())
    assert norms[0] == norms[1] > 0


def test_gradient_clipping_begins_where_it_is_told(tmp_path: Path) -> None:
    norms = {}
    for start in (0, 10):
        network = Recorder()
        run(job(tmp_path, gradient_clip_norm=1e-12, gradient_clip_from_step=start, steps=1, ema_decay=0.0), network)
        norms[start] = network.scale.grad.norm().item()
    assert norms[0] <= 1.1e-12 < norms[10]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.0, 1.0, 1.0, 1.0]),
        ({"lr_warmup_steps": 2}, [0.5, 1.0, 1.0, 1.0]),
        ({"lr_schedule": "cosine"}, [1.0, 0.8535534, 0.5, 0.1464466]),
        ({"lr_schedule": "cosine", "lr_warmup_steps": 2}, [0.5, 1.0, 1.0, 0.5]),
    ],
    ids=str,
)
def test_learning_rate(options: dict[str, object], expected: list[float]) -> None:
    config = replace(TrainConfig(steps=4, lr=1.0), **options)  # type: ignore[arg-type]
    assert [learning_rate(config, step) for step in range(4)] == pytest.approx(expected)


class Exploding(nn.Module):
    """Fine for two steps, then it divides by zero before it calls a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.layer = nn.Identity()
        self.calls = 0

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        self.calls += 1
        return self.layer(self.scale * x / (0.0 if self.calls > 2 else 1.0))


def test_divergence_stops_before_the_step_and_names_the_place(tmp_path: Path) -> None:
    work, network = job(tmp_path), Exploding()
    state = new_state(network, work.config)
    batches = training_batches(DATASET, 6, 0, 0, 4)
    with pytest.raises(TrainingDiverged, match="diverged at step 3") as caught:
        train(state, work, batches, lambda state, log: None)
    assert str(caught.value) == (
        "training diverged at step 3: loss inf, gradient norm inf; what the forward of the network computes outside of "
        "its modules is not finite; precision=float32, attention=math, lr=0.01"
    )
    assert state.step == 2
    assert network.scale.isfinite()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.safetensors"]
