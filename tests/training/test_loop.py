"""The training loop: what a step draws, clips, decays and refuses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.data.autoencoders import Autoencoder
from stbench.data.loading import training_batches
from stbench.data.synthetic.shapes import Shapes
from stbench.runtime.device import Runtime
from stbench.settings.schema import TrainConfig
from stbench.training.divergence import TrainingDiverged
from stbench.training.loop import (
    LOSS_COLUMNS,
    TrainingJob,
    learning_rate,
    new_state,
    train,
)

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
    return TrainingJob(config, "flow", "uniform", 0, 2, runtime, Autoencoder(), folder, "hash")


def run(work: TrainingJob, backbone: nn.Module | None = None) -> Recorder:
    network = backbone or Recorder()
    batches = training_batches(DATASET, work.config.batch_size, work.seed, 0, work.config.steps)
    train(new_state(network, work.config), work, batches, lambda state, loss: None)
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
    """Fine for two steps, then a layer inside gives infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.bad_layer = nn.Identity()
        self.calls = 0

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        self.calls += 1
        return self.bad_layer(self.scale * x / (0.0 if self.calls > 2 else 1.0))


def test_divergence_stops_before_the_step_and_names_the_module(tmp_path: Path) -> None:
    work, network = job(tmp_path), Exploding()
    state = new_state(network, work.config)
    batches = training_batches(DATASET, 6, 0, 0, 4)
    with pytest.raises(TrainingDiverged, match=r"diverged at step 3: .*bad_layer is not finite; precision=float32"):
        train(state, work, batches, lambda state, loss: None)
    assert state.step == 2
    assert network.scale.isfinite()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.safetensors"]
