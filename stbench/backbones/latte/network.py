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

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte.blocks import (
    AddedTime,
    AxialAttention,
    Axis,
    DualChannelAttention,
    LatteBlock,
    Modulation,
    ParallelAttention,
    SparseCausalAttention,
    SplitAttention,
    modulate,
)
from stbench.backbones.latte.published import LatteLayout
from stbench.backbones.layers import (
    ClassEmbedding,
    TimestepMlp,
    sincos_table,
    sincos_table_2d,
    spread_over_frames,
)
from stbench.backbones.temporal import TEMPORAL, MotionModule
from stbench.errors import StbenchError, check_whole, unknown_name


@dataclass(frozen=True)
class LatteSize:
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
    "tiny": LatteSize(hidden_size=192, num_heads=4, depth=4, dual_depth=3, dual_mlp_ratio=5.0),
    "S": LatteSize(hidden_size=384, num_heads=6, depth=12, dual_depth=10, dual_mlp_ratio=3.8),
    "B": LatteSize(hidden_size=768, num_heads=12, depth=12, dual_depth=10, dual_mlp_ratio=3.8),
    "L": LatteSize(hidden_size=1024, num_heads=16, depth=24, dual_depth=20, dual_mlp_ratio=3.8),
    "XL": LatteSize(hidden_size=1152, num_heads=16, depth=28, dual_depth=23, dual_mlp_ratio=4.0),
}

READINGS: dict[str, type[ParallelAttention] | type[SplitAttention]] = {
    "full-width": ParallelAttention,
    "split": SplitAttention,
}

# What the options know, in the order of the constructor's arguments.
CHOICES: dict[str, tuple[str, ...]] = {
    "size": tuple(SIZES),
    "arrangement": ("interleaved", "late_fusion", "sequential", "parallel", "spatial"),
    "reading": tuple(READINGS),
    "attention_order": ("spatial_first", "temporal_first"),
    "patch_embedding": ("uniform", "compression"),
    "conditioning": ("adaln", "tokens"),
    "temporal_position": ("absolute", "rope", "none"),
    "temporal": TEMPORAL,
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

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = LatteLayout()
    spatial_table: Tensor  # (1, N, D)
    temporal_table: Tensor  # (1, F, D)

    def __init__(
        self,
        *,
        size: str = "S",  # a name of `SIZES`; a figure that is given below replaces that of the size
        arrangement: str = "interleaved",  # which block attends over what: see the table above
        reading: str = "full-width",  # of "parallel": a name of `READINGS`
        attention_order: str = "spatial_first",  # of "sequential": which attention comes first in a block
        patch_size: int = 2,  # side of a patch, in latent pixels
        patch_embedding: str = "uniform",  # every frame by itself, or "compression": tubelets of several frames
        tubelet_length: int = 2,  # frames of a tubelet under "compression"; 1 is the same as "uniform"
        conditioning: str = "adaln",  # adaptive layer norm, or "tokens": timestep and class as tokens of every frame
        temporal_position: str = "absolute",  # a table added once, "rope": in every temporal attention, or "none"
        temporal: str = "attention",  # or what, in each spatial block, takes the place of the temporal blocks
        gate_start: float = 0.0,  # of "dual_channel": logit of the spatial channel's share in the mixture
        hidden_size: int | None = None,  # D
        depth: int | None = None,  # blocks
        num_heads: int | None = None,  # of every block
        mlp_ratio: float | None = None,  # hidden width of the MLP, as a multiple of D
        in_channels: int = 4,  # C of the latents
        sample_size: int = 32,  # H = W of the latents
        num_frames: int = 16,  # F of the latents
        num_classes: int = 0,  # 0 for an unconditional network; the label `num_classes` is the null class
        text_dim: int = 0,  # L * E of a flattened text embedding (77 * 768 in the authors' code); 0 for none
        learned_variance: bool = True,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__()
        chosen = (size, arrangement, reading, attention_order, patch_embedding, conditioning, temporal_position)
        for (option, known), value in zip(CHOICES.items(), (*chosen, temporal), strict=True):
            if value not in known:
                raise unknown_name(option, value, known)
        named = SIZES[size]
        dual = arrangement == "sequential" or (arrangement == "parallel" and reading == "full-width")
        width = named.hidden_size if hidden_size is None else hidden_size
        if depth is None:
            depth = named.dual_depth if dual else named.depth
        if num_heads is None:
            num_heads = named.num_heads
        if mlp_ratio is None:
            mlp_ratio = named.dual_mlp_ratio if dual else 4.0
        check_whole(1, hidden_size=width, depth=depth, num_heads=num_heads, patch_size=patch_size)
        check_whole(1, tubelet_length=tubelet_length)
        check_whole(1, in_channels=in_channels, sample_size=sample_size, num_frames=num_frames)
        check_whole(0, num_classes=num_classes, text_dim=text_dim)
        if not 1 <= width * mlp_ratio < math.inf:
            raise StbenchError(
                f"mlp_ratio={mlp_ratio} gives hidden_size={width} an MLP of {width * mlp_ratio} channels"
            )
        hidden_width = int(width * mlp_ratio)
        tubelet = tubelet_length if patch_embedding == "compression" else 1

        self.arrangement, self.reading, self.adaptive = arrangement, reading, conditioning == "adaln"
        self.temporal = temporal
        self.in_channels, self.sample_size, self.num_frames = in_channels, sample_size, num_frames
        self.num_classes, self.out_channels = num_classes, in_channels * (2 if learned_variance else 1)
        self.patch = (tubelet, patch_size, patch_size)
        rotary = temporal_position == "rope"
        self._check_figures(width, depth, num_heads, rotary)
        mixers = _mixers_of_blocks(arrangement, reading, attention_order, depth)
        if temporal != "attention":
            mixers = [(temporal,) for kinds in mixers if kinds == ("spatial",)]
        over_time = [index for index, kinds in enumerate(mixers) if kinds not in (("spatial",), (temporal,))]
        # The frame positions are added once, before this block: the first that attends over time.
        self.table_before = over_time[0] if over_time and temporal_position == "absolute" else None

        self.patch_embed = nn.Conv3d(in_channels, width, kernel_size=self.patch, stride=self.patch)
        self.timestep_embed = TimestepMlp(width)
        self.class_embed = ClassEmbedding(num_classes, width) if num_classes else None
        self.text_embed = nn.Sequential(nn.SiLU(), nn.Linear(text_dim, width)) if text_dim else None
        self.register_buffer("spatial_table", sincos_table_2d(sample_size // patch_size, width)[None])
        self.register_buffer("temporal_table", sincos_table(torch.arange(num_frames // tubelet), width)[None])
        table = self.temporal_table[:, :, None] if temporal_position == "absolute" else None
        build = _Blocks(width, num_heads, hidden_width, self.adaptive, rotary, table, gate_start)
        self.blocks = nn.ModuleList(build(kinds) for kinds in mixers)
        self.final = FinalLayer(width, tubelet * patch_size**2, self.out_channels, self.adaptive)
        self._initialise()

    @property
    def num_tokens(self) -> int:
        """Patches, or tubelets, of one clip; tokens of the condition come on top."""
        length, size, _ = self.patch
        return self.num_frames // length * (self.sample_size // size) ** 2

    @property
    def context_shape(self) -> tuple[int] | None:
        """The flattened text embedding of one clip, where the network reads one."""
        return (cast(nn.Linear, self.text_embed[1]).in_features,) if self.text_embed else None

    @property
    def per_frame_timesteps(self) -> bool:
        """Frames may have a timestep each, where each has tokens of its own."""
        return self.patch[0] == 1

    @property
    def frame_blocks(self) -> list[nn.Module]:
        """The blocks in order of depth, each from tokens (B, F, N, D) to tokens of the same frames."""
        return list(self.blocks)

    @property
    def published_guided_channels(self) -> int:
        """The authors of Latte guide the noise, those of DiT its first three channels alone."""
        return 3 if self.arrangement == "spatial" else self.in_channels

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F + K, H, W); the last K = `conditioning.num_images` frames are independent images,
                which pass the spatial attentions and skip the temporal ones.
            timesteps: (B,), or (B, F) with one for each frame.
            conditioning: class labels (B,), image labels (B, K), a text embedding in `context`.

        Returns:
            (B, C or 2C, F + K, H, W)
        """
        K = conditioning.num_images
        x = self._embed_patches(noisy_latents, K)  # (B, F + K, N, D)
        parts = self._embed_conditions(timesteps, conditioning)  # (B, 1 + K or F, parts, D)
        condition = parts.sum(dim=2)  # (B, 1 + K or F, D)
        # The authors' last layer sees no text, which is the last of the parts.
        last_condition = parts[:, :, :-1].sum(dim=2) if self.text_embed else condition
        if not self.adaptive:
            x = self._append_tokens(x, parts, K)  # (B, F + K, N + parts, D)
        for index, block in enumerate(self.blocks):
            if index == self.table_before:
                x = self._add_temporal_table(x, K)
            x = block(x, condition, K)
        x = x[:, :, : self.spatial_table.shape[1]]  # (B, F + K, N, D)
        x = self.final(x, last_condition, K)  # (B, F + K, N, patch volume * channels)
        return self.unpatchify(x)  # (B, C or 2C, F + K, H, W)

    def _embed_patches(self, noisy_latents: Tensor, num_images: int) -> Tensor:
        """Latents (B, C, F + K, H, W) to tokens (B, F + K, N, D) with their spatial position."""
        expected = (self.in_channels, self.num_frames + num_images, self.sample_size, self.sample_size)
        if noisy_latents.shape[1:] != expected:
            raise StbenchError(
                f"Latte expects latents (B, C, F, H, W) = (B, {', '.join(map(str, expected))}), got "
                f"{tuple(noisy_latents.shape)}"
            )
        if num_images and self.patch[0] > 1:
            raise StbenchError("image-video joint training needs patch_embedding=uniform: an image has no tubelet")
        patches = self.patch_embed(noisy_latents).flatten(3)  # (B, D, F + K, N)
        tokens = patches.permute(0, 2, 3, 1).contiguous()  # or every layer norm that follows makes its own copy
        return tokens + self.spatial_table

    def _embed_conditions(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """Embeddings of timestep, class and text, as many as there are: (B, 1 + K, parts, D), the clip's row first.

        Where every frame has a timestep they are (B, F, parts, D).
        """
        rows = 1 + conditioning.num_images
        if timesteps.ndim == 2:
            self._check_frame_timesteps(timesteps, conditioning.num_images)
            rows = self.num_frames
        embedded = self.timestep_embed(timesteps.flatten()).unflatten(0, (len(timesteps), -1))  # (B, 1 or F, D)
        parts = [embedded.expand(-1, rows, -1)]
        if self.class_embed is not None:
            parts.append(self.class_embed(self._labels(conditioning)).expand(-1, rows, -1))
        if self.text_embed is not None:
            if conditioning.context is None:
                raise StbenchError("this Latte is conditioned on text: conditioning.context (B, ...) is missing")
            parts.append(self.text_embed(conditioning.context.flatten(1))[:, None].expand(-1, rows, -1))
        return torch.stack(parts, dim=2)

    def _check_frame_timesteps(self, timesteps: Tensor, num_images: int) -> None:
        if timesteps.shape[1] != self.num_frames:
            raise StbenchError(
                f"Latte expects timesteps (B,) or (B, F) = (B, {self.num_frames}), got {tuple(timesteps.shape)}"
            )
        if num_images or not self.per_frame_timesteps:
            raise StbenchError("a timestep for each frame needs frames of their own: no images, no tubelets")

    def _labels(self, conditioning: Conditioning) -> Tensor:
        """Class labels of the clips and of their images, (B, 1 + K), or an error that says which are missing."""
        if conditioning.class_labels is None:
            raise StbenchError(f"this Latte has {self.num_classes} classes: conditioning.class_labels (B,) is missing")
        labels = conditioning.class_labels[:, None]
        if not conditioning.num_images:
            return labels
        if conditioning.image_labels is None:
            raise StbenchError(f"{conditioning.num_images} images need conditioning.image_labels (B, K) of their own")
        return torch.cat([labels, conditioning.image_labels], dim=1)

    def _append_tokens(self, x: Tensor, parts: Tensor, num_images: int) -> Tensor:
        """Append the parts of the condition, (B, 1 + K, parts, D), to the tokens of every frame."""
        rows = x.shape[1]
        tokens = spread_over_frames(parts, rows - num_images, num_images).expand(-1, rows, -1, -1)
        return torch.cat([x, tokens.to(x.dtype)], dim=2)

    def _add_temporal_table(self, x: Tensor, num_images: int) -> Tensor:
        """Add the frame positions to the patches of the clip; images and condition tokens have no position in time."""
        num_patches = self.spatial_table.shape[1]
        num_parts = x.shape[2] - num_patches
        table = self.temporal_table[:, :, None]  # (1, F, 1, D)
        if num_images or num_parts:
            on_patches = table.expand(-1, -1, num_patches, -1)
            table = nn.functional.pad(on_patches, (0, 0, 0, num_parts, 0, num_images))  # (1, F + K, N + parts, D)
        return x + table

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Patches (B, F, N, patch volume * channels) back to latents: the transposed convolution of stride = kernel."""
        length, size, _ = self.patch
        B, F, _, _ = patches.shape
        side = self.sample_size // size
        grid = patches.reshape(B, F, side, side, length, size, size, self.out_channels)
        clip = grid.permute(0, 7, 1, 4, 2, 5, 3, 6)  # (B, C, F, length, side, size, side, size)
        return clip.reshape(B, self.out_channels, F * length, self.sample_size, self.sample_size)

    def _check_figures(self, width: int, depth: int, num_heads: int, rotary: bool) -> None:
        """Refuse figures that do not divide as the network needs, naming the option."""
        tubelet, patch_size, _ = self.patch
        if self.arrangement in ("interleaved", "late_fusion") and depth % 2:
            raise StbenchError(
                f"depth={depth} is odd: {self.arrangement} needs as many spatial blocks as temporal ones"
            )
        if self.arrangement == "parallel" and num_heads % 2:
            raise StbenchError(f"num_heads={num_heads} is odd: parallel gives half of the heads to space, half to time")
        if self.temporal != "attention" and self.arrangement not in ("interleaved", "late_fusion", "spatial"):
            raise StbenchError(
                f"temporal={self.temporal} stands in purely spatial blocks, and arrangement={self.arrangement} has "
                "none: expected interleaved, late_fusion or spatial"
            )
        if self.temporal == "motion_module" and rotary:
            raise StbenchError("temporal_position=rope does not fit temporal=motion_module: expected absolute or none")
        if width % num_heads:
            raise StbenchError(f"hidden_size={width} does not divide into num_heads={num_heads} heads of equal width")
        if rotary and width // num_heads % 2:
            raise StbenchError(
                f"num_heads={num_heads} gives hidden_size={width} heads of {width // num_heads} channels: "
                "temporal_position=rope rotates pairs of channels and needs an even number"
            )
        if width % 4:
            raise StbenchError(f"hidden_size={width} is not a multiple of 4, which the 2D position table needs")
        if self.sample_size % patch_size:
            raise StbenchError(f"sample_size={self.sample_size} is not a multiple of patch_size={patch_size}")
        if self.num_frames % tubelet:
            raise StbenchError(f"num_frames={self.num_frames} is not a multiple of tubelet_length={tubelet}")

    def _initialise(self) -> None:
        """Initialise as DiT does (arXiv 2212.09748, section 3.2): Xavier, and zero wherever a branch ends."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
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
            elif isinstance(module, DualChannelAttention):
                module.start_from_space()
                nn.init.normal_(module.temporal.proj.weight, std=0.02)
            elif isinstance(module, AddedTime | MotionModule):
                module.start_as_nothing()
        nn.init.zeros_(self.final.linear.weight)


def _mixers_of_blocks(arrangement: str, reading: str, attention_order: str, depth: int) -> list[tuple[str, ...]]:
    """Of every block, the attentions it applies in turn: "spatial", "temporal", or a reading of variant 4."""
    spatial: tuple[str, ...] = ("spatial",)
    temporal: tuple[str, ...] = ("temporal",)
    both = spatial + temporal if attention_order == "spatial_first" else temporal + spatial
    mixers: dict[str, list[tuple[str, ...]]] = {
        "interleaved": [spatial, temporal] * (depth // 2),
        "late_fusion": [spatial] * (depth // 2) + [temporal] * (depth // 2),
        "sequential": [both] * depth,
        "parallel": [(reading,)] * depth,
        "spatial": [spatial] * depth,
    }
    return mixers[arrangement]


@dataclass(frozen=True)
class _Blocks:
    """Builds the blocks of one network from the kinds of `_mixers_of_blocks`, or from a name of `TEMPORAL`."""

    width: int
    num_heads: int
    hidden_width: int
    adaptive: bool
    rotary: bool
    table: Tensor | None  # (1, F, 1, D), positions of what stands in spatial blocks
    gate_start: float

    def __call__(self, kinds: tuple[str, ...]) -> LatteBlock:
        """A block with these attentions in turn."""
        mixers = [self._mixer(kind) for kind in kinds]
        added = self._added(kinds[0])
        return LatteBlock(mixers, self.width, self.hidden_width, self.adaptive, kinds == ("temporal",), added)

    def _mixer(self, kind: str) -> nn.Module:
        if kind in READINGS:
            return READINGS[kind](self.width, self.num_heads, self.rotary)
        if kind == "dual_channel":
            spatial = AxialAttention(self.width, self.num_heads, "spatial")
            return DualChannelAttention(spatial, self._over_time(), self.width, self.gate_start)
        if kind == "sparse_causal":
            return SparseCausalAttention(self.width, self.num_heads)
        axis: Axis = "temporal" if kind == "temporal" else "spatial"
        return AxialAttention(self.width, self.num_heads, axis, self.rotary)

    def _added(self, kind: str) -> AddedTime | MotionModule | None:
        if kind == "sparse_causal":
            return AddedTime(self._over_time(), self.width)
        if kind == "motion_module":
            return MotionModule(self.width, self.num_heads, positions=self.table is not None)
        return None

    def _over_time(self) -> AxialAttention:
        return AxialAttention(self.width, self.num_heads, "temporal", self.rotary, self.table)
