"""How near made frames come to those that were there: PSNR and SSIM (Wang et al., IEEE TIP 13(4), 2004).

Only of tasks in which a clip is given in part, so that there is one right answer to be near to; a distance of
distributions is blind to that, and these two to anything but that. LPIPS stands beside them where its weights are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stbench.metrics.lpips import LEAST_SIZE, find_lpips
from stbench.records.sections import Fidelity

LEAST_ERROR = 1 / 12  # squared, of a level: what rounding to 8 bit leaves of any error, so that PSNR is finite
KERNEL = 11  # pixels, of SSIM's Gaussian window; smaller frames have no SSIM


class FidelityTally:
    """Means over frames, gathered batch after batch.

    Args:
        frames: which frames of a clip count: those that were made.
    """

    def __init__(self, frames: Sequence[int]) -> None:
        self.frames, self.perceptual = list(frames), find_lpips() if frames else None
        self._lpips: list[Tensor] = []
        self._psnr: list[Tensor] = []
        self._ssim: list[Tensor] = []

    def add(self, made: NDArray[np.uint8], real: NDArray[np.uint8]) -> None:
        """Compare clips (B, F, H, W, 3) with those that they ought to be."""
        ours, theirs = (self._single(clips) for clips in (made, real))  # (N, 3, H, W)
        errors = (ours - theirs).square().mean(dim=(1, 2, 3)).clamp(min=LEAST_ERROR)
        self._psnr.append(10 * torch.log10(255**2 / errors))
        if min(ours.shape[-2:]) >= KERNEL:
            from torchmetrics.functional.image import structural_similarity_index_measure

            found = structural_similarity_index_measure(
                ours, theirs, kernel_size=KERNEL, data_range=255.0, reduction="none"
            )
            assert isinstance(found, Tensor)
            self._ssim.append(found)
        if self.perceptual and min(ours.shape[-2:]) >= LEAST_SIZE:
            self._lpips.append(self.perceptual(ours.float() / 127.5 - 1, theirs.float() / 127.5 - 1))

    def scores(self) -> Fidelity | None:
        """What was found; None of no clips."""
        if not self._psnr:
            return None
        psnr = torch.cat(self._psnr)
        ssim, lpips = (torch.cat(found).mean().item() if found else None for found in (self._ssim, self._lpips))
        weights = self.perceptual.weights_sha256 if self.perceptual and self._lpips else None
        return Fidelity(
            n_frames=len(psnr), psnr_db=psnr.mean().item(), ssim=ssim, lpips=lpips, lpips_weights_sha256=weights
        )

    def _single(self, clips: NDArray[np.uint8]) -> Tensor:
        """The frames that count, each by itself, with levels from 0 to 255."""
        return torch.from_numpy(clips[:, self.frames]).flatten(0, 1).permute(0, 3, 1, 2).double()
