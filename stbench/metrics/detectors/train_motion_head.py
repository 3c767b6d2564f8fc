"""How the classifier of motions on the features of `shapes3d` was made.

    python -m stbench.metrics.detectors.train_motion_head --out shapes3d_motions.safetensors --batches 600

A logistic regression on the features that ship: those stay as they are, and with them every figure that was measured.
It learns from clips as `train_shapes3d` draws them, and is tested on data sets that neither has seen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.metrics.detectors.shapes3d import CLASSES, Shapes3DDetector
from stbench.metrics.detectors.train_shapes3d import FIRST_TEST_SEED, TEST_BATCHES, draw_batch
from stbench.progress import progress_bar
from stbench.storage.files import write_whole
from stbench.storage.hashing import file_sha256

WEIGHT_DECAY = 1e-4  # on the weights of standardised features
ITERATIONS = 300  # of L-BFGS, which is through before that


def draw_features(detector: Shapes3DDetector, batches: int, seed: int, first_seed: int) -> tuple[Tensor, Tensor]:
    """Return features (N,64) of clips that are drawn as for the detector's training, and their motions (N,)."""
    rng = np.random.default_rng(seed)
    features, motions = [], []
    with progress_bar("drawing clips", batches) as advance, torch.no_grad():
        for _ in range(batches):
            clips, labels = draw_batch(rng, first_seed)
            features.append(detector.network(clips))
            motions.append(labels["motion"])
            advance()
    return torch.cat(features), torch.cat(motions)


def fit(features: Tensor, motions: Tensor) -> nn.Linear:
    """Return the logistic regression of motions (N,) on features (N,D)."""
    mean, std = features.mean(dim=0), features.std(dim=0) + 1e-6
    head = nn.Linear(features.shape[1], len(CLASSES))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    scaled = (features - mean) / std

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(head(scaled), motions) + WEIGHT_DECAY * head.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():  # on the features as they are
        head.weight.div_(std)
        head.bias.sub_(head.weight @ mean)
    return head


def main() -> None:
    """Fit, write the weights with their provenance, and print accuracy and SHA-256."""
    parser = argparse.ArgumentParser(prog="train_motion_head", description="Fit the classifier of shapes3d.")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--batches", type=int, default=600, help="of 64 clips")
    arguments = parser.parse_args()

    detector = Shapes3DDetector().eval()
    head = fit(*draw_features(detector, arguments.batches, seed=1, first_seed=0))
    features, motions = draw_features(detector, TEST_BATCHES, seed=0, first_seed=FIRST_TEST_SEED)
    accuracy = float((head(features).argmax(dim=1) == motions).float().mean())
    made_by = {"batches": arguments.batches, "detector": detector.weights_sha256, "accuracy": round(accuracy, 4)}
    with write_whole(arguments.out) as unfinished:
        save_file(head.state_dict(), unfinished, metadata={"training": json.dumps(made_by)})
    print(json.dumps({**made_by, "sha256": file_sha256(arguments.out)}))


if __name__ == "__main__":
    main()
