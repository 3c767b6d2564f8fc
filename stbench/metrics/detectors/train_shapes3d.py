"""How the weights of the `shapes3d` detector were made.

    python -m stbench.metrics.detectors.train_shapes3d --out shapes3d.safetensors --steps 3000 --seed 0

The network learns to name the motion, the frame stride and the look of synthetic clips (number, kind and colour of the
shapes, background, or clouds), at sizes from 16 to 64 pixels and lengths from 8 to 16 frames. It never sees the
distortions of `stbench.metrics.distortions`, which are there to test it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.data.loading import clips_to_tensor
from stbench.data.synthetic.clouds import Clouds
from stbench.data.synthetic.motions import MOTIONS
from stbench.data.synthetic.shapes import BACKGROUNDS, COLORS, ROUND_SHAPES, SHAPES, Shapes
from stbench.metrics.catalogue import get_preprocessing
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.metrics.detectors.shapes3d import Shapes3D, Shapes3DDetector
from stbench.progress import progress_bar
from stbench.storage.files import write_whole
from stbench.storage.hashing import file_sha256

MAX_SHAPES = 4
IMAGE_SIZES = (16, 16, 24, 32, 48, 64)
CLIP_LENGTHS = (8, 12, 16)
FRAME_STRIDES = (1, 2, 3)
UNKNOWN = -100  # the label that cross entropy ignores

# Classes of each task; clouds are one more kind of motion, with no shape in sight.
TASKS = {
    "motion": len(MOTIONS) + 1,
    "stride": len(FRAME_STRIDES),
    "num_shapes": MAX_SHAPES + 1,
    "shape": len(SHAPES),
    "color": len(COLORS),
    "background": len(BACKGROUNDS),
}
DATASETS_PER_BATCH = 8
CLIPS_PER_DATASET = 8
LEARNING_RATE = 3e-3
TEST_BATCHES = 40
# Data sets drawn for training have seeds below this bound, those for the final test above it.
FIRST_TEST_SEED = 2**30


class TaskHeads(nn.Module):
    """One linear classifier per task on the detector's features."""

    def __init__(self) -> None:
        super().__init__()
        width = Shapes3DDetector.feature_dim
        self.heads = nn.ModuleDict({task: nn.Linear(width, classes) for task, classes in TASKS.items()})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Map features (N, D) to logits (N, classes) for each task."""
        return {task: head(features) for task, head in self.heads.items()}


def draw_batch(rng: np.random.Generator, first_seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return clips (N, 3, F, 32, 32) of several random data sets and the labels (N,) of each task."""
    num_frames = int(rng.choice(CLIP_LENGTHS))
    parts = [_draw_dataset(rng, num_frames, first_seed) for _ in range(DATASETS_PER_BATCH)]
    clips = torch.cat([clips for clips, _ in parts])
    return clips, {task: torch.cat([labels[task] for _, labels in parts]) for task in TASKS}


def _draw_dataset(rng: np.random.Generator, num_frames: int, first_seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    image_size, stride = int(rng.choice(IMAGE_SIZES)), int(rng.integers(len(FRAME_STRIDES)))
    seed = first_seed + int(rng.integers(FIRST_TEST_SEED))
    is_clouds = rng.random() < 1 / TASKS["motion"]
    common: dict[str, Any] = {
        "image_size": image_size,
        "num_frames": num_frames,
        "frame_stride": FRAME_STRIDES[stride],
        "seed": seed,
    }
    dataset: Clouds | Shapes
    if is_clouds:
        dataset, known = Clouds(**common), {"motion": len(MOTIONS), "num_shapes": 0}
    else:
        dataset, known = _draw_shapes(rng, common)
    videos = rng.choice(len(dataset), CLIPS_PER_DATASET, replace=False).tolist()
    frames, classes = dataset.batch(videos, [0] * CLIPS_PER_DATASET)
    labels = {task: torch.full((CLIPS_PER_DATASET,), known.get(task, UNKNOWN)) for task in TASKS}
    labels["stride"].fill_(stride)
    if not is_clouds:
        motions = list(MOTIONS)
        labels["motion"] = torch.tensor([motions.index(dataset.class_names[label]) for label in classes])
    return preprocess(clips_to_tensor(frames), get_preprocessing("shapes3d", "resize32")), labels


def _draw_shapes(rng: np.random.Generator, common: dict[str, Any]) -> tuple[Shapes, dict[str, int]]:
    """A data set of shapes and its labels; half of the time all shapes are of one kind, or of one colour."""
    num_shapes, background = int(rng.integers(1, MAX_SHAPES + 1)), int(rng.integers(len(BACKGROUNDS)))
    known = {"num_shapes": num_shapes, "background": background}
    shapes, colors = tuple(SHAPES), tuple(COLORS)
    if rng.random() < 0.5:
        known["shape"] = int(rng.integers(len(SHAPES)))
        shapes = (shapes[known["shape"]],)
    if rng.random() < 0.5:
        known["color"] = int(rng.integers(len(COLORS)))
        colors = (colors[known["color"]],)
    # Nobody sees a disc rotate.
    motions = [motion for motion in MOTIONS if motion != "rotate" or not set(shapes) <= set(ROUND_SHAPES)]
    look: dict[str, Any] = {"shapes": shapes, "colors": colors, "background": BACKGROUNDS[background]}
    return Shapes(**common, num_shapes=num_shapes, motions=motions, **look), known


def train(steps: int, seed: int) -> tuple[Shapes3D, TaskHeads]:
    """Train the network and its heads from scratch with the mean of the tasks' cross entropies."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, heads = Shapes3D(), TaskHeads()
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    with progress_bar("training shapes3d", steps) as advance:
        for _ in range(steps):
            clips, labels = draw_batch(rng, first_seed=0)
            loss = task_loss(heads(network(clips)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            advance()
    return network.eval(), heads.eval()


def task_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Mean of the tasks' cross entropies; a task without a single known label in the batch adds nothing."""
    known = [task for task in TASKS if (labels[task] != UNKNOWN).any()]
    losses = [functional.cross_entropy(logits[task], labels[task], ignore_index=UNKNOWN) for task in known]
    return torch.stack(losses).mean()


def held_out_accuracy(network: Shapes3D, heads: TaskHeads) -> dict[str, float]:
    """Share of right answers to each task on data sets that training never drew."""
    rng = np.random.default_rng(0)
    right, asked = dict.fromkeys(TASKS, 0), dict.fromkeys(TASKS, 0)
    for _ in range(TEST_BATCHES):
        clips, labels = draw_batch(rng, first_seed=FIRST_TEST_SEED)
        with torch.no_grad():
            logits = heads(network(clips))
        for task, truth in labels.items():
            known = truth != UNKNOWN
            right[task] += int((logits[task].argmax(dim=1) == truth)[known].sum())
            asked[task] += int(known.sum())
    return {task: round(right[task] / asked[task], 4) for task in TASKS}


def main() -> None:
    """Train, write the weights with their provenance, and print accuracy and SHA-256."""
    parser = argparse.ArgumentParser(prog="train_shapes3d", description="Train the shapes3d detector.")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=3000, help="training steps of 64 clips")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the clips")
    arguments = parser.parse_args()

    network, heads = train(arguments.steps, arguments.seed)
    made_by = {"steps": arguments.steps, "seed": arguments.seed, "accuracy": held_out_accuracy(network, heads)}
    with write_whole(arguments.out) as unfinished:
        save_file(network.state_dict(), unfinished, metadata={"training": json.dumps(made_by)})
    print(json.dumps({**made_by, "sha256": file_sha256(arguments.out)}))


if __name__ == "__main__":
    main()
