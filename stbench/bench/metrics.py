"""The cost of a video distance: the detector of published FVD, plain and folded, and the Fréchet distance itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from stbench.metrics.detectors.i3d_folded import fold
from stbench.metrics.detectors.i3d_network import I3D
from stbench.metrics.frechet import frechet_distance
from stbench.runtime.device import choose_device
from stbench.runtime.timing import Work, measure, measure_interleaved

CLIP = (3, 16, 224, 224)
# Width of the features and clips on each side: I3D's usual ones, and Inception's.
FRECHET = ((400, 2048), (2048, 4096))


def measure_metrics(min_samples: int = 5) -> dict[str, Any]:
    """Time I3D on one clip as published and as stbench runs it, in turn, and the Fréchet distance of random features.

    Returns:
        i3d: seconds a clip of both, medians, and `speedup`; frechet: a row for each (dimensions, clips).
    """
    device = choose_device("auto")
    clip = torch.randn(1, *CLIP, device=device).clamp(-1, 1)
    networks = {"plain": I3D().eval().to(device), "folded": fold(I3D()).eval().to(device)}
    works: dict[str, Work] = {name: partial(network, clip) for name, network in networks.items()}
    with torch.no_grad():
        timings = measure_interleaved(works, device, min_samples=min_samples, max_seconds=0, batch_size=1)
    medians = {f"{name}_s": timing.median for name, timing in timings.items()}
    i3d = {
        "clip": list(CLIP),
        **medians,
        "speedup": medians["plain_s"] / medians["folded_s"],
        "samples": {name: timing.samples for name, timing in timings.items()},
    }

    frechet = []
    for dimensions, clips in FRECHET:
        real, fake = np.random.default_rng(0).standard_normal((2, clips, dimensions))
        timing = measure(
            partial(frechet_distance, real, fake),
            torch.device("cpu"),
            what="frechet",
            min_samples=min_samples,
            max_seconds=0,
            batch_size=1,
        )
        row = {"dimensions": dimensions, "clips": clips, "median_s": timing.median, "samples": timing.samples}
        frechet.append(row)
    return {"i3d": i3d, "frechet": frechet}
