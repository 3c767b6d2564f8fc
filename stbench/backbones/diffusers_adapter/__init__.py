"""Video models of diffusers behind the contract of a backbone."""

from stbench.backbones.diffusers_adapter.network import DiffusersAdapter

__all__ = ["DiffusersAdapter"]
