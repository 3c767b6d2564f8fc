"""The diffusion prior of DALL-E 2 and Make-A-Video (arXiv 2204.06125, 2209.14792)."""

from stbench.backbones.prior.network import DiffusionPrior

__all__ = ["DiffusionPrior"]
