"""The pseudo-3D U-Net of Make-A-Video (arXiv 2209.14792)."""

from stbench.backbones.pseudo3d_unet.network import Pseudo3DUNet

__all__ = ["Pseudo3DUNet"]
