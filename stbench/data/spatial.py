"""How a frame of any size becomes a square, by named rules.

Which filter does the resizing, whether the crop comes before or after it, and even how a size is rounded, moves a
Fréchet distance as much as a better model does (Parmar, Zhang and Zhu, CVPR 2022, arXiv 2104.11222), so the rule is
part of a protocol. Each equals a release to the byte, roundings included; what those save as JPEG stays lossless here.

Pixels are taken as they are stored, as the releases take them: colours without their transparency, and not turned by
what a file says of its camera. Of 16 bits the upper 8 are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stbench.errors import StbenchError, unknown_name

DEFAULT_SPATIAL_RULE = "crop-resize-lanczos"

Halve = Callable[[int], int]
"""The offset of a centre crop, from the margin that it leaves on both sides together."""


def square(image: Image.Image, image_size: int, rule: str = DEFAULT_SPATIAL_RULE) -> NDArray[np.uint8]:
    """Bring an image to uint8 (image_size, image_size, 3), RGB, by a rule of `SPATIAL_RULES`.

    Raises:
        StbenchError: pixels of a kind that has no white of its own; one line, without the name of the file.
    """
    return SPATIAL_RULES[rule](_rgb(image), image_size)


def check_spatial_rule(name: str, key: str) -> str:
    """Return `name` when it is one of `SPATIAL_RULES`, or raise the error that lists them for `key`."""
    if name not in SPATIAL_RULES:
        raise unknown_name(key, name, SPATIAL_RULES)
    return name


def scaled_down(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with `size` for the shorter side, the longer one rounded down: torchvision, transformers."""
    short = min(height, width)
    return height * size // short, width * size // short


def scaled_up(height: int, width: int, size: int) -> tuple[int, int]:
    """The same rounded up, as VideoGPT does it: in floating point, which makes 225x224 of 50x50 pixels."""
    scale = size / min(height, width)
    if height < width:
        return size, math.ceil(width * scale)
    return math.ceil(height * scale), size


def _rgb(image: Image.Image) -> Image.Image:
    """8 bits a colour."""
    if image.mode in ("I", "F"):
        raise StbenchError(f"32-bit pixels (mode {image.mode}), of which none is known to be white; save 8 or 16 bits")
    if image.mode.startswith("I;16"):  # what Pillow makes of 16-bit colours, too; its conversion of grey ones clips
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _half_to_even(margin: int) -> int:
    return round(margin / 2)  # torchvision's center_crop: 0.5 becomes 0, and 1.5 becomes 2


def _half_down(margin: int) -> int:
    return margin // 2


def _centre(image: Image.Image, side: int, halve: Halve) -> Image.Image:
    left, top = (halve(length - side) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _lanczos(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS)  # with a low-pass filter when shrinking


def _crop_resize(image: Image.Image, image_size: int, halve: Halve = _half_to_even) -> NDArray[np.uint8]:
    return np.asarray(_lanczos(_centre(image, min(image.size), halve), image_size, image_size))


def _resize_crop(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    height, width = scaled_down(image.height, image.width, image_size)
    return np.asarray(_centre(_lanczos(image, width, height), image_size, _half_to_even))


def _cdfvd_frames(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    return _crop_resize(image, image_size, _half_down)


def _cdfvd_videos(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """In [0, 1] by torch's bilinear filter with a low-pass, and bytes are cut off, not rounded."""
    import torch  # here: to scan and to list datasets takes no torch
    from torch.nn.functional import interpolate

    frame = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    size = scaled_up(image.height, image.width, image_size)
    scaled = (interpolate(frame, size, mode="bilinear", antialias=True)[0] * 255).byte()
    top, left = (_half_down(length - image_size) for length in size)
    return scaled[:, top : top + image_size, left : left + image_size].permute(1, 2, 0).contiguous().numpy()


SPATIAL_RULES: dict[str, Callable[[Image.Image, int], NDArray[np.uint8]]] = {
    # Latte's tools/convert_videos_to_frames.py, and StyleGAN-V's script for one long video.
    "crop-resize-lanczos": _crop_resize,
    # StyleGAN-V's src/scripts/convert_videos_to_frames.py, for a folder of videos.
    "resize-crop-lanczos": _resize_crop,
    # cd-fvd's loader of folders of frames: a crop with an odd margin may begin a pixel earlier than Latte's.
    "cdfvd-frames": _cdfvd_frames,
    # cd-fvd's loader of video files.
    "cdfvd-videos": _cdfvd_videos,
}
