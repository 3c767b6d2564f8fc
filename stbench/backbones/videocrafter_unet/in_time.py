"""What gives Stable Diffusion's U-Net time: a block that looks at other frames, and a motion module behind blocks."""

from __future__ import annotations

from torch import Tensor, nn

from stbench.backbones.temporal import MotionModule, first_and_previous
from stbench.backbones.videocrafter_unet.attention import Attention
from stbench.backbones.videocrafter_unet.stages import Told, zeroed
from stbench.backbones.videocrafter_unet.transformers import TransformerBlock


class SparseCausalAttention(Attention):
    """From the pixels of each frame to those of the first and of the previous one (`first_and_previous`)."""

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """Apply to tokens (B F, N, C)."""
        k, v = (self._offered(layer(x), num_frames) for layer in (self.to_k, self.to_v))
        return self.to_out(self.look(self.to_q(x), k, v))

    def _offered(self, tokens: Tensor, num_frames: int) -> Tensor:
        """Keys or values (B F, N, C) to (B F, 2 N, C)."""
        clips = tokens.unflatten(0, (-1, num_frames)).unsqueeze(2)  # (B, F, 1, N, C): heads are cut later
        return first_and_previous(clips).flatten(0, 2)


class SparseCausalBlock(TransformerBlock):
    """Tune-A-Video's: attention to the first and the previous frame, to the text, feed-forward, attention over time.

    That over time starts at zero, its bias as well, which the authors' code draws at random.

    Args:
        channels: C, a multiple of `head_dim`.
        head_dim: channels of a head.
        context_dim: D of the text.
    """

    def __init__(self, channels: int, *, head_dim: int, context_dim: int) -> None:
        figures = (channels, channels // head_dim, head_dim)
        super().__init__(channels, SparseCausalAttention(*figures), Attention(*figures, context_dim))
        self.norm_temp, self.attn_temp = nn.LayerNorm(channels), Attention(*figures)
        zeroed(self.attn_temp.to_out)

    def forward(self, x: Tensor, told: Told) -> Tensor:  # type: ignore[override]
        """Apply to tokens (B F, N, C)."""
        x = x + self.attn1(self.norm1(x), told.num_frames)
        x = x + self.attn2(self.norm2(x), *told.contexts)
        x = x + self.feed_forward(self.norm3(x))
        tubes = x.unflatten(0, (-1, told.num_frames)).transpose(1, 2)  # (B, N, F, C)
        over_time = self.attn_temp(self.norm_temp(tubes.flatten(0, 1))).view_as(tubes)
        return x + over_time.transpose(1, 2).flatten(0, 1)


class MotionLayer(nn.Module):
    """AnimateDiff's motion module, among the frames of each pixel."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.motion = MotionModule(channels, num_heads)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Apply to (B F, C, H, W)."""
        tokens = x.flatten(2).transpose(1, 2).unflatten(0, (-1, told.num_frames))  # (B, F, H W, C)
        return self.motion(tokens).flatten(0, 1).transpose(1, 2).unflatten(2, x.shape[2:])
