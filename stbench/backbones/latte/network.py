"""Latte, a latent diffusion transformer for video (arXiv 2401.03048), in its four arrangements of space and time.

| arrangement | the paper's | a block |
|---|---|---|
| `interleaved` | variant 1 | spatial and temporal blocks in turn (the published network) |
| `late_fusion` | variant 2 | the first half of the blocks spatial, the second half temporal |
| `sequential` | variant 3 | spatial attention, temporal attention, MLP |
| `parallel` | variant 4 | spatial and temporal attention side by side on half of the heads each, then MLP |
| `spatial` | - | every block spatial: DiT (arXiv 2212.09748) on each frame, the image model of image pretraining |

The paper leaves variants 2-4 partly open. What is chosen here: the block of variants 3 and 4 has one six-part
modulation (its attention triple serves both attentions), which together with the depth of 23 reproduces the parameter
and operation counts printed for XL; the order of variant 3 is an option; variant 4 has two readings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte.blocks import (
    AxialAttention,
    LatteBlock,
    Modulation,
    ParallelAttention,
    SplitAttention,
    modulate,
    spread_over_frames,
)
from stbench.backbones.latte.published import LatteLayout
from stbench.backbones.layers import TimestepEmbedding, sincos_table, sincos_table_2d
from stbench.errors import StbenchError, unknown_name

ARRANGEMENTS = ("interleaved", "late_fusion", "sequential", "parallel", "spatial")
READINGS = ("full-width", "split")
ATTENTION_ORDERS = ("spatial_first", "temporal_first")
PATCH_EMBEDDINGS = ("uniform", "compression")
CONDITIONINGS = ("adaln", "tokens")
TEMPORAL_POSITIONS = ("absolute", "rope", "none")


@dataclass(frozen=True)
class Size:
    """One named size: `depth` and MLP ratio 4 with one attention a block, the `dual_*` figures with two.

    S, B, L and XL are the paper's (table 2). Blocks with two attentions are larger, so there are fewer of them; where
    no whole number of blocks gives the parameters of variant 1 within 1 %, the MLP ratio makes up the difference.
    """

    hidden_size: int
    num_heads: int
    depth: int
    dual_depth: int
    dual_mlp_ratio: float


SIZES = {
    "tiny": Size(hidden_size=192, num_heads=4, depth=4, dual_depth=3, dual_mlp_ratio=5.0),
    "S": Size(hidden_size=384, num_heads=6, depth=12, dual_depth=10, dual_mlp_ratio=3.8),
    "B": Size(hidden_size=768, num_heads=12, depth=12, dual_depth=10, dual_mlp_ratio=3.8),
    "L": Size(hidden_size=1024, num_heads=16, depth=24, dual_depth=20, dual_mlp_ratio=3.8),
    "XL": Size(hidden_size=1152, num_heads=16, depth=28, dual_depth=23, dual_mlp_ratio=4.0),
}


class FinalLayer(nn.Module):
    """Norm, modulation, and a zero-initialised projection of each token to its patch (or tubelet)."""

    def __init__(self, width: int, patch_volume: int, out_channels: int, adaptive: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=not adaptive)
        self.modulation = Modulation(width, 2) if adaptive else None
        self.linear = nn.Linear(width, patch_volume * out_channels)

    def forward(self, x: Tensor, condition: Tensor, num_images: int) -> Tensor:
        """From tokens (B, F, N, D) and conditions (B, 1 + K, D) to patches (B, F, N, patch volume * channels)."""
        x = self.norm(x)
        if self.modulation is not None:
            shift, scale = self.modulation.per_frame(condition, x.shape[1] - num_images, num_images)
            x = modulate(x, shift, scale)
        return self.linear(x)


class Latte(nn.Module):
    """The Latte family.

    Args:
        size: a name of `SIZES`; `hidden_size`, `depth`, `num_heads` and `mlp_ratio` override its figures.
        arrangement: a name of `ARRANGEMENTS`.
        reading: of `parallel`: "full-width" (two attentions, outputs added; the paper's counts) or "split" (one
            attention whose heads are divided, outputs concatenated; the parameters of variant 1 at equal depth).
        attention_order: of `sequential`: which attention comes first in a block.
        patch_size: side of a patch, in latent pixels.
        patch_embedding: "uniform" (each frame by itself) or "compression" (tubelets of `tubelet_length` frames).
        tubelet_length: frames of a tubelet under "compression"; 1 is the same as "uniform".
        conditioning: "adaln" (scalable adaptive layer norm) or "tokens" (timestep and class as tokens of every frame).
        temporal_position: "absolute" (sinusoidal table, added once, before the first block that attends over time),
            "rope" (rotary, in every temporal attention) or "none".
        in_channels: C of the latents.
        sample_size: H = W of the latents.
        num_frames: F.
        num_classes: 0 for an unconditional network; the label `num_classes` is the null class.
        text_dim: width of a pooled text embedding, L * E flattened (77 * 768 in the authors' code); 0 for none.
        learned_variance: predict 2C channels, noise and variance.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = LatteLayout()
    spatial_table: Tensor  # (1, N, D)
    temporal_table: Tensor  # (1, F, D)

    def __init__(
        self,
        *,
        size: str = "S",
        arrangement: str = "interleaved",
        reading: str = "full-width",
        attention_order: str = "spatial_first",
        patch_size: int = 2,
        patch_embedding: str = "uniform",
        tubelet_length: int = 2,
        conditioning: str = "adaln",
        temporal_position: str = "absolute",
        hidden_size: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        mlp_ratio: float | None = None,
        in_channels: int = 4,
        sample_size: int = 32,
        num_frames: int = 16,
        num_classes: int = 0,
        text_dim: int = 0,
        learned_variance: bool = True,
    ) -> None:
        super().__init__()
        self.arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        _check_choices(
            size=(size, tuple(SIZES)),
            arrangement=(arrangement, ARRANGEMENTS),
            reading=(reading, READINGS),
            attention_order=(attention_order, ATTENTION_ORDERS),
            patch_embedding=(patch_embedding, PATCH_EMBEDDINGS),
            conditioning=(conditioning, CONDITIONINGS),
            temporal_position=(temporal_position, TEMPORAL_POSITIONS),
        )
        named = SIZES[size]
        dual = arrangement == "sequential" or (arrangement == "parallel" and reading == "full-width")
        width = hidden_size or named.hidden_size
        depth = depth or (named.dual_depth if dual else named.depth)
        num_heads = num_heads or named.num_heads
        hidden_width = int(width * (mlp_ratio or (named.dual_mlp_ratio if dual else 4.0)))
        tubelet = tubelet_length if patch_embedding == "compression" else 1
        _check_shapes(arrangement, width, depth, num_heads, sample_size, patch_size, num_frames, tubelet)

        self.arrangement, self.reading, self.temporal_position = arrangement, reading, temporal_position
        self.in_channels, self.num_frames, self.num_classes = in_channels, num_frames, num_classes
        self.out_channels = in_channels * (2 if learned_variance else 1)
        self.patch = (tubelet, patch_size, patch_size)
        self.adaptive = conditioning == "adaln"

        self.patch_embed = nn.Conv3d(in_channels, width, kernel_size=self.patch, stride=self.patch)
        self.timestep_embed = TimestepEmbedding(width)
        self.class_embed = nn.Embedding(num_classes + 1, width) if num_classes else None
        self.text_embed = nn.Sequential(nn.SiLU(), nn.Linear(text_dim, width)) if text_dim else None
        self.register_buffer("spatial_table", sincos_table_2d(sample_size // patch_size, width)[None])
        self.register_buffer("temporal_table", sincos_table(torch.arange(num_frames // tubelet), width)[None])
        kinds = _block_kinds(arrangement, reading, attention_order, depth)
        rotary = temporal_position == "rope"
        self.blocks = nn.ModuleList(
            _build_block(kind, width, num_heads, hidden_width, self.adaptive, rotary) for kind in kinds
        )
        self.first_temporal_block = next((i for i, kind in enumerate(kinds) if kind != "spatial"), None)
        self.final = FinalLayer(width, tubelet * patch_size**2, self.out_channels, self.adaptive)
        self._initialise()

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F + K, H, W); the last K = `conditioning.num_images` frames are independent images,
                which pass the spatial attentions and skip the temporal ones.
            timesteps: (B,)
            conditioning: class labels (B,), image labels (B, K), a text embedding in `context`.

        Returns:
            (B, C or 2C, F + K, H, W)
        """
        K = conditioning.num_images
        self._check_input(noisy_latents, conditioning)
        H = noisy_latents.shape[-2]
        x = self._embed_patches(noisy_latents)  # (B, F + K, N, D)
        parts = self._embed_conditions(timesteps, conditioning)  # (B, 1 + K, parts, D)
        condition = parts.sum(dim=2)  # (B, 1 + K, D)
        num_patches = x.shape[2]
        if not self.adaptive:
            tokens = spread_over_frames(parts, x.shape[1] - K, K).expand(-1, x.shape[1], -1, -1)
            x = torch.cat([x, tokens.to(x.dtype)], dim=2)  # (B, F + K, N + parts, D)
        for index, block in enumerate(self.blocks):
            if index == self.first_temporal_block and self.temporal_position == "absolute":
                x = self._add_temporal_table(x, K)
            x = block(x, condition, K)  # (B, F + K, N, D)
        x = self.final(x[:, :, :num_patches], condition, K)  # (B, F + K, N, patch volume * channels)
        return self._unpatchify(x, H)  # (B, C or 2C, F + K, H, W)

    def _embed_patches(self, noisy_latents: Tensor) -> Tensor:
        """Latents (B, C, F, H, W) to tokens (B, F, N, D) with their spatial position."""
        patches = self.patch_embed(noisy_latents).flatten(3)  # (B, D, F, N)
        tokens = patches.permute(0, 2, 3, 1).contiguous()  # or every layer norm that follows makes its own copy
        return tokens + self.spatial_table

    def _embed_conditions(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """Embeddings of timestep, class and text, as many as there are: (B, 1 + K, parts, D), the clip's row first."""
        rows = 1 + conditioning.num_images
        parts = [self.timestep_embed(timesteps)[:, None].expand(-1, rows, -1)]
        if self.class_embed is not None:
            labels = conditioning.class_labels[:, None]  # type: ignore[index]  # _check_input saw that it is there
            if conditioning.num_images:
                labels = torch.cat([labels, conditioning.image_labels], dim=1)  # type: ignore[list-item]
            parts.append(self.class_embed(labels))
        if self.text_embed is not None:
            text = self.text_embed(conditioning.context.flatten(1))  # type: ignore[union-attr]
            parts.append(text[:, None].expand(-1, rows, -1))
        return torch.stack(parts, dim=2)

    def _add_temporal_table(self, x: Tensor, num_images: int) -> Tensor:
        """Add the frame positions to the patches of the clip; images and condition tokens have no position in time."""
        num_parts = x.shape[2] - self.spatial_table.shape[1]
        table = self.temporal_table[:, :, None]  # (1, F, 1, D)
        if num_images or num_parts:
            on_patches = table.expand(-1, -1, x.shape[2] - num_parts, -1)
            table = nn.functional.pad(on_patches, (0, 0, 0, num_parts, 0, num_images))  # (1, F + K, N + parts, D)
        return x + table

    def _unpatchify(self, patches: Tensor, height: int) -> Tensor:
        """Patches (B, F, N, patch volume * channels) back to latents: the transposed convolution of stride = kernel."""
        length, size, _ = self.patch
        B, F, _, _ = patches.shape
        side = height // size
        grid = patches.reshape(B, F, side, side, length, size, size, self.out_channels)
        return grid.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(B, self.out_channels, F * length, height, height)

    def _check_input(self, noisy_latents: Tensor, conditioning: Conditioning) -> None:
        """Refuse input of the wrong shape or without its labels, in words."""
        _, C, F, H, W = noisy_latents.shape
        side = round(self.spatial_table.shape[1] ** 0.5) * self.patch[1]
        expected = (self.in_channels, self.num_frames + conditioning.num_images, side, side)
        if expected != (C, F, H, W):
            raise StbenchError(f"Latte expects latents (B, C, F, H, W) = (B, {', '.join(map(str, expected))}), got "
                               f"{tuple(noisy_latents.shape)}")  # fmt: skip
        if conditioning.num_images and self.patch[0] > 1:
            raise StbenchError("image-video joint training needs patch_embedding=uniform: an image has no tubelet")
        if self.class_embed is not None and conditioning.class_labels is None:
            raise StbenchError(f"this Latte has {self.num_classes} classes: conditioning.class_labels (B,) is missing")
        if self.class_embed is not None and conditioning.num_images and conditioning.image_labels is None:
            raise StbenchError(f"{conditioning.num_images} images need conditioning.image_labels (B, K) of their own")
        if self.text_embed is not None and conditioning.context is None:
            raise StbenchError("this Latte is conditioned on text: conditioning.context (B, ...) is missing")

    def _initialise(self) -> None:
        """Initialise as DiT does (arXiv 2212.09748, section 3.2): Xavier, and zero wherever a branch ends."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.weight.view(self.patch_embed.out_channels, -1))
        if self.patch_embed.bias is not None:
            nn.init.zeros_(self.patch_embed.bias)
        for module in self.timestep_embed.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        if self.class_embed is not None:
            nn.init.normal_(self.class_embed.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Modulation):
                nn.init.zeros_(module.linear.weight)
        nn.init.zeros_(self.final.linear.weight)


def _block_kinds(arrangement: str, reading: str, attention_order: str, depth: int) -> list[str]:
    """What every block attends over, in order."""
    if arrangement == "interleaved":
        return ["spatial", "temporal"] * (depth // 2)
    if arrangement == "late_fusion":
        return ["spatial"] * (depth // 2) + ["temporal"] * (depth // 2)
    if arrangement == "sequential":
        return [attention_order] * depth
    return [reading if arrangement == "parallel" else "spatial"] * depth


def _build_block(kind: str, width: int, num_heads: int, hidden_width: int, adaptive: bool, rotary: bool) -> LatteBlock:
    """Build one block of a kind that `_block_kinds` names."""
    if kind == "full-width":
        mixers: list[nn.Module] = [ParallelAttention(width, num_heads, rotary)]
    elif kind == "split":
        mixers = [SplitAttention(width, num_heads, rotary)]
    elif kind in ("spatial", "temporal"):
        mixers = [AxialAttention(width, num_heads, kind, rotary)]  # type: ignore[arg-type]
    else:
        mixers = [AxialAttention(width, num_heads, "spatial"), AxialAttention(width, num_heads, "temporal", rotary)]
        mixers = mixers if kind == "spatial_first" else mixers[::-1]
    return LatteBlock(mixers, width, hidden_width, adaptive, video_only=kind == "temporal")


def _check_choices(**choices: tuple[str, tuple[str, ...]]) -> None:
    """Refuse a value that its option does not know."""
    for option, (value, known) in choices.items():
        if value not in known:
            raise unknown_name(option, value, known)


def _check_shapes(
    arrangement: str,
    width: int,
    depth: int,
    num_heads: int,
    sample_size: int,
    patch_size: int,
    frames: int,
    tubelet: int,
) -> None:
    """Refuse figures that do not divide as the network needs, naming the option."""
    if arrangement in ("interleaved", "late_fusion") and depth % 2:
        raise StbenchError(f"depth={depth} is odd: {arrangement} needs as many spatial blocks as temporal ones")
    if arrangement == "parallel" and num_heads % 2:
        raise StbenchError(f"num_heads={num_heads} is odd: parallel gives half of the heads to space, half to time")
    if width % (2 * num_heads):
        raise StbenchError(f"hidden_size={width} does not divide into num_heads={num_heads} heads of even width")
    if width % 4:
        raise StbenchError(f"hidden_size={width} is not a multiple of 4, which the 2D position table needs")
    if sample_size % patch_size:
        raise StbenchError(f"sample_size={sample_size} is not a multiple of patch_size={patch_size}")
    if frames % tubelet:
        raise StbenchError(f"num_frames={frames} is not a multiple of tubelet_length={tubelet}")
