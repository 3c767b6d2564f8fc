"""The latent video U-Nets of VideoCrafter (arXiv 2401.09047) and of LVDM (arXiv 2211.13221), which it grew from."""

from stbench.backbones.videocrafter_unet.lvdm import LvdmUNet
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet

__all__ = ["LvdmUNet", "VideoCrafterUNet"]
