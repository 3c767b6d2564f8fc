"""Class names and frames as context: the tokens of CLIP's text and image encoders (arXiv 2103.00020), frozen.

Both are loaded through transformers from a folder on disk in its layout (config.json and safetensors; for texts
vocab.json and merges.txt as well), such as `openai/clip-vit-large-patch14`. Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stbench import paths
from stbench.data.embeddings import SIDE, FrameEmbedding, NameEmbedding
from stbench.errors import StbenchError
from stbench.storage.hashing import file_sha256

VARIABLE = "STBENCH_CLIP"
# Of the pixels that CLIP was trained on, per channel, in [0, 1].
PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoder(nn.Module):
    """What both encoders are: a model of transformers from a folder.

    Args:
        weights: the folder; when None, the environment variable STBENCH_CLIP, or `clip` in the user's cache.

    Attributes:
        model_class: name of the class in transformers, which is optional.
        weights_sha256: of config.json and the weights files laid end to end.

    Raises:
        StbenchError: the weights or transformers are missing, or the folder holds another model.
    """

    model_class: str

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.folder, transformers = find_clip(weights), _import_transformers()
        transformers.logging.set_verbosity_error()  # the weights of the other encoder lie in the same file
        try:
            self.model, loaded = getattr(transformers, self.model_class).from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StbenchError(f"cannot load CLIP from {self.folder}: {' '.join(str(error).split())}") from error
        if missing := sorted(loaded["missing_keys"]):
            raise StbenchError(
                f"{self.folder}: no {self.model_class}: {len(missing)} missing ({', '.join(missing[:3])})"
            )
        self.model.eval().requires_grad_(False)
        self.weights_sha256 = file_sha256(self.folder / "config.json", *sorted(self.folder.glob("*.safetensors")))

    @property
    def width(self) -> int:
        """D of a token."""
        return self.model.config.hidden_size


class ClipText(ClipEncoder):
    """Texts to the tokens of CLIP's last layer, normalised: as many for each as the weights have positions (77)."""

    model_class = "CLIPTextModel"

    def __init__(self, weights: str | None = None) -> None:
        super().__init__(weights)
        if absent := [name for name in ("vocab.json", "merges.txt") if not (self.folder / name).is_file()]:
            raise StbenchError(f"{self.folder}: {absent[0]} is missing, without which CLIP cannot read")
        self.tokenizer = _import_transformers().CLIPTokenizer.from_pretrained(self.folder, local_files_only=True)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as (N, L, D); what a text has beyond L tokens is cut off."""
        length = self.model.config.max_position_embeddings
        read = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return self.model(read["input_ids"].to(self.model.device)).last_hidden_state


class ClipImage(ClipEncoder):
    """Frames to the tokens of CLIP's image encoder: that of the class first, then the patches."""

    model_class = "CLIPVisionModel"

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames (N, 3, H, W) in [-1, 1], made squares of the weights' size, as (N, 1 + patches, D)."""
        size = (self.model.config.image_size,) * 2
        resized = nn.functional.interpolate((frames + 1) / 2, size, mode="bicubic", antialias=True)
        mean, std = (resized.new_tensor(each)[:, None, None] for each in (PIXEL_MEAN, PIXEL_STD))
        return self.model((resized.clamp(0, 1) - mean) / std).last_hidden_state


class FrameContext(nn.Module):
    """The tokens of a clip's last frame, which a network reads that makes the clip: an image's embedding is one token.

    Attributes:
        weights_sha256: of the encoder.
        shape: (L, D) of one clip.
    """

    def __init__(self, encoder: ClipImage | FrameEmbedding) -> None:
        super().__init__()
        self.encoder, self.weights_sha256 = encoder, encoder.weights_sha256
        _, num_tokens, width = self(torch.zeros(1, 3, 1, SIDE, SIDE)).shape
        self.shape = (num_tokens, width)

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips (B, 3, F, H, W) as (B, L, D)."""
        tokens = self.encoder(clips[:, :, -1])
        return tokens.view(len(tokens), -1, tokens.shape[-1])


ContextEncoder = ClipText | NameEmbedding | FrameContext


def context_encoder(name: str, weights: str | None = None) -> ContextEncoder | None:
    """What encodes the context of `context.name`; None where classes are learned.

    Raises:
        StbenchError: CLIP's weights or transformers are missing.
    """
    encoders: dict[str, Callable[[], ContextEncoder]] = {
        "clip-text": lambda: ClipText(weights),
        "toy-text": NameEmbedding,
        "clip-image": lambda: FrameContext(ClipImage(weights)),
        "toy-image": lambda: FrameContext(FrameEmbedding()),
    }
    return encoders[name]() if name in encoders else None


def find_clip(weights: str | None = None) -> Path:
    """The folder of CLIP's weights.

    Raises:
        StbenchError: there is none; says where it is looked for.
    """
    named = weights or os.environ.get(VARIABLE)
    folder = Path(named).expanduser() if named else paths.user_cache() / "clip"
    if not (folder / "config.json").is_file():
        raise StbenchError(
            "CLIP needs its weights in transformers' layout (config.json, safetensors, vocab.json, merges.txt), such "
            f"as openai/clip-vit-large-patch14: not found in {folder}; name the folder by context.weights=... or "
            f"{VARIABLE}"
        )
    return folder


def caption_of(class_name: str) -> str:
    """A class's name in words: "ApplyEyeMakeup" and "apply_eye_makeup" are "apply eye makeup"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\s]+", " ", class_name).strip().lower()


def class_tokens(encoder: ClipText | NameEmbedding, class_names: Sequence[str]) -> Tensor:
    """The tokens (num_classes + 1, L, D) of classes by their names; those of the null class are an empty text's."""
    return encoder([*map(caption_of, class_names), ""])


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise StbenchError("CLIP needs transformers: pip install 'stbench[clip]'") from error
    return transformers
