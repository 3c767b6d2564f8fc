"""Latte (arXiv 2401.03048) and, as its image model, DiT."""

from stbench.backbones.latte.network import Latte

__all__ = ["Latte"]
