"""A sky with drifting clouds under changing light; unconditional."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stbench.data.synthetic.base import SCENE_STREAM, SyntheticDataset
from stbench.data.synthetic.noise import Floats, fractal_noise, pixel_centres, smoothstep, uniform

_CLOUD_OCTAVES = 6
# Colours (R,G,B) by day and at dusk.
_SKY_TOP = ((0.16, 0.38, 0.75), (0.14, 0.14, 0.34))
_SKY_BOTTOM = ((0.58, 0.76, 0.93), (0.95, 0.52, 0.28))
_CLOUD = ((0.97, 0.97, 0.97), (0.80, 0.52, 0.48))


@dataclass(eq=False, kw_only=True)
class Clouds(SyntheticDataset):
    """A sky with drifting clouds under changing light; unconditional."""

    def content(self) -> object:
        """Return the arguments that decide what the videos show."""
        return {"generator": "clouds-1", "seed": self.seed, "length": self.length}

    def _draw(self, videos: NDArray[np.int64]) -> Floats:
        # What chance decides, each (B,1).
        wind, gust, cover, hour, pace = np.moveaxis(uniform(self.seed, videos, SCENE_STREAM, (5,)), -1, 0)[..., None]
        # The density, (B,F,H,W); finer octaves drift faster, so that the clouds change their shape.
        octave = np.arange(_CLOUD_OCTAVES, dtype=np.float32)[:, None, None]
        speed = (0.01 + 0.02 * wind) * (1 + 0.15 * octave)
        sign = np.where(gust < 0.5, np.float32(1), np.float32(-1))
        density = fractal_noise(
            self.seed,
            videos,
            self.image_size,
            drift_x=sign * speed * self.time,
            drift_y=0.3 * (gust - 0.5) * speed * self.time,
        )
        cloud = smoothstep(5 * (density - 0.54 + 0.16 * cover[..., None, None]))
        # The light: 0 by day, 1 at dusk, (B,F,1,1).
        dusk = 0.5 + 0.5 * np.sin(2 * np.pi * hour + (0.03 + 0.05 * pace) * self.time)
        dusk = dusk.astype(np.float32)[..., None, None]
        # Sky and clouds, each between its colour by day and at dusk; thick cloud is darker.
        height = pixel_centres(self.image_size)[:, None]
        canvas = np.empty((3, *cloud.shape), dtype=np.float32)
        shade = 1.08 - 0.55 * smoothstep(2.5 * (density - 0.5))
        for channel in range(3):
            top, bottom, lit = (
                day[channel] + (evening[channel] - day[channel]) * dusk
                for day, evening in (_SKY_TOP, _SKY_BOTTOM, _CLOUD)
            )
            sky = top + (bottom - top) * height
            canvas[channel] = sky + cloud * (lit * shade - sky)
        return canvas
