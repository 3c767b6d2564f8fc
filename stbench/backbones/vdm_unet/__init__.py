"""The 3D U-Net of Video Diffusion Models (arXiv 2204.03458)."""

from stbench.backbones.vdm_unet.network import VdmUNet

__all__ = ["VdmUNet"]
