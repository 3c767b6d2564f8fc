"""The latent video U-Nets that are cut into stages: VideoCrafter's (arXiv 2401.09047) and its relatives."""

from stbench.backbones.videocrafter_unet.animate import AnimateUNet
from stbench.backbones.videocrafter_unet.lvdm import LvdmUNet
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.backbones.videocrafter_unet.stable_diffusion import StableDiffusionUNet

__all__ = ["AnimateUNet", "LvdmUNet", "StableDiffusionUNet", "VideoCrafterUNet"]
