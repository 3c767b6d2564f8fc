"""Attention whose cost grows with the number of tokens, not with its square (arXiv 1812.01243, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn


class LinearAttend(nn.Module):
    """softmax(q) (softmax(k)^T v), without parameters: keys meet values before they meet queries.

    The softmax is over the channels of the queries and over the tokens of the keys. This is no softmax of q k^T, so no
    backend of `Attend` computes it.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q to k and v.

        Args:
            q: (..., heads, N, E)
            k: (..., heads, M, E)
            v: (..., heads, M, E)

        Returns:
            (..., heads, N, E)
        """
        summary = k.softmax(dim=-2).transpose(-2, -1) @ v  # (..., heads, E, E)
        return (q.softmax(dim=-1) * q.shape[-1] ** -0.5) @ summary
