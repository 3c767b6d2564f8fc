"""How a frame of any size becomes a square, by named rules.

Which filter does the resizing, and whether the crop comes before or after it, moves a Fréchet distance as much as a
better model does (Parmar, Zhang and Zhu, CVPR 2022, arXiv 2104.11222), so the rule is part of a protocol.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stbench.errors import unknown_name

# What each rule does first. Lanczos is Pillow's, with its low-pass filter when shrinking.
SPATIAL_RULES: dict[str, Literal["crop", "resize"]] = {
    "crop-resize-lanczos": "crop",  # the scripts of StyleGAN-V and Latte that write frames
    "resize-crop-lanczos": "resize",  # cd-fvd's loader of frames
}
DEFAULT_SPATIAL_RULE = "crop-resize-lanczos"


def check_spatial_rule(name: str, key: str) -> str:
    """Return `name` when it is one of `SPATIAL_RULES`, or raise the error that lists them for `key`."""
    if name not in SPATIAL_RULES:
        raise unknown_name(key, name, SPATIAL_RULES)
    return name


def square(image: Image.Image, image_size: int, rule: str = DEFAULT_SPATIAL_RULE) -> NDArray[np.uint8]:
    """Bring an image to uint8 (image_size, image_size, 3), RGB, by a rule of `SPATIAL_RULES`."""
    image = image.convert("RGB")
    if SPATIAL_RULES[rule] == "resize":  # so that the shorter side is image_size
        scale = image_size / min(image.size)
        width, height = (max(image_size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    # The square in the middle, which has that size already where the image was resized first.
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return np.asarray(image.resize((image_size, image_size), Image.Resampling.LANCZOS))
