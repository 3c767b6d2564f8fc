"""The latent video U-Net of VideoCrafter2 (arXiv 2401.09047)."""

from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet

__all__ = ["VideoCrafterUNet"]
