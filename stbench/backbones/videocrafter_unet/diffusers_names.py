"""The published weights of the staged U-Nets that grew from diffusers', under its names.

They are files of the network alone: of AnimateAnything, Stable Diffusion, Tune-A-Video. AnimateDiff's hold motion
modules, to be put into an image network (`load_motion_modules`). What gives Stable Diffusion time starts from a file of
it, or from a run of it (`train.init`). A backbone is a `StagedUNet` in every function here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stbench.backbones.published import PublishedLayout, choose_weights, from_published, to_published
from stbench.backbones.videocrafter_unet.in_time import MotionLayer
from stbench.backbones.videocrafter_unet.layers import ResNetBlock
from stbench.backbones.videocrafter_unet.published import FLAT, OF_TRANSFORMERS, Rules, published_of, renamed
from stbench.backbones.videocrafter_unet.stages import Downsample, Upsample
from stbench.backbones.videocrafter_unet.transformers import SpatialTransformer, TemporalTransformer
from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

_NAMES: Rules = (
    (r"^encoder\.0\.0\.conv\.", "conv_in."),
    (r"^encoder\.0\.0\.masked\.", "conv_in2."),
    (r"^encoder\.0\.1\.", "transformer_in."),
    (r"^timestep_embed\.0\.", "time_embedding.linear_1."),
    (r"^timestep_embed\.2\.", "time_embedding.linear_2."),
    (r"^strength_proj\.", "time_embedding.cond_proj."),
    (r"^motion_embed\.", "motion_embedding."),
    (r"^norm_out\.", "conv_norm_out."),
    (r"\.norm_in\.", ".norm1."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.embed\.", ".time_emb_proj."),
    (r"\.norm_out\.", ".norm2."),
    (r"\.conv_out\.", ".conv2."),
    (r"\.skip\.", ".conv_shortcut."),
    (r"\.resnets\.(\d+)\.temporal\.(\d)\.", lambda match: f".temp_convs.{match[1]}.conv{int(match[2]) + 1}."),
    (r"(\.temp_convs\.\d+\.conv\d)\.norm\.", r"\1.0."),
    (r"(\.temp_convs\.\d+\.conv1)\.conv\.", r"\1.2."),
    (r"(\.temp_convs\.\d+\.conv[234])\.conv\.", r"\1.3."),
    (r"\.motion\.attentions\.(\d)\.norm\.", r".motion.block.norms.\1."),
    (r"\.motion\.attentions\.(\d)\.", r".motion.block.attention_blocks.\1."),
    (r"\.motion\.last_norm\.", ".motion.block.ff_norm."),
    (r"\.motion\.feed_forward\.", ".motion.block.feed_forward."),
    (r"\.motion\.enter\.", ".motion.proj_in."),
    (r"\.motion\.leave\.", ".motion.proj_out."),
    (r"\.motion\.", ".temporal_transformer."),
    *OF_TRANSFORMERS,
)
_KINDS: dict[type[nn.Module], str] = {  # what a block of diffusers calls its layers of a kind
    ResNetBlock: "resnets",
    SpatialTransformer: "attentions",
    TemporalTransformer: "temp_attentions",
    MotionLayer: "motion_modules",
    Downsample: "downsamplers",
    Upsample: "upsamplers",
}
_MOTION = ".motion_modules."
_IN_TIME = (_MOTION, ".motion.", ".attn_temp.", ".norm_temp.")  # in the authors' names and in ours
_POSITIONS = ".pos_encoder.pe"  # sinusoids, which are no weights here
_PROJECTION = re.compile(r"\.proj_(in|out)\.weight$")  # of a spatial transformer; a convolution over 1 x 1 there
_LAYER = re.compile(r"(middle|(en|de)coder\.\d+)\.\d+")


class DiffusersLayout(PublishedLayout):
    """The names of diffusers, in whose blocks the layers of a kind are numbered by themselves."""

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors'."""
        places = _places(backbone)
        return {ours: renamed(_moved(ours, places), _NAMES) for ours in published_of(backbone)}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the first convolution."""
        return "conv_in.weight" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Give it the axes of length 1 that it has there."""
        return tensor.unsqueeze(-1) if FLAT.search(name) else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Drop them."""
        return tensor.squeeze(-1) if FLAT.search(name) else tensor


class StableDiffusionLayout(DiffusersLayout):
    """The names and shapes of Stable Diffusion 1's U-Net in diffusers, of Tune-A-Video and of AnimateDiff."""

    only_of_video = ("temporal", "middle_motion", "clip_norms")

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Give it the axes of length 1 that it has there."""
        return tensor[..., None, None] if _PROJECTION.search(name) else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Drop them."""
        return tensor.flatten(1) if _PROJECTION.search(name) else tensor

    def is_image_model(self, state: Mapping[str, Tensor], backbone: Any) -> bool:
        """Whether the network has parts in time and `state` is such a network's without them."""
        if not _in_time(backbone.state_dict()) or _in_time(state):
            return False
        return self.is_published(state) or state.keys() == set(_image_names(backbone).values())

    def load_image_model(self, backbone: Any, state: Mapping[str, Tensor], origin: object) -> None:
        """See `PublishedLayout.load_image_model`."""
        if self.is_published(state):
            whole = from_published(backbone, {**_in_time(to_published(backbone)), **state}, origin)
        else:
            image = {ours: state[name] for ours, name in _image_names(backbone).items()}
            whole = {**_in_time(backbone.state_dict()), **image}
        load_strictly(backbone, whole, origin)


def load_motion_modules(backbone: nn.Module, weights: str | Path | Mapping[str, Any]) -> nn.Module:
    """Put AnimateDiff's motion modules into a network; its image part stays as it is.

    Args:
        backbone: a `StableDiffusionUNet` with as many motion modules.
        weights: a file of the authors', or what it holds; only what is of motion modules is read.

    Returns:
        The same backbone.

    Raises:
        StbenchError: for a file that cannot be read safely, or motion modules that do not fit, with their names.
    """
    origin: object = "state dict" if isinstance(weights, Mapping) else weights
    content = weights if isinstance(weights, Mapping) else read_weights_file(Path(weights))
    state = check_tensors(choose_weights(content, "ema", origin), origin)
    motion = {
        name.removeprefix("module."): tensor
        for name, tensor in state.items()
        if _MOTION in name and not name.endswith(_POSITIONS)
    }
    if not motion:
        raise StbenchError(f"{origin}: holds no motion modules: expected names with {_MOTION}")
    image = {name: tensor for name, tensor in to_published(backbone).items() if _MOTION not in name}
    load_strictly(backbone, from_published(backbone, {**image, **motion}, origin), origin)
    return backbone


def _places(backbone: Any) -> dict[str, str]:
    """Our name of every layer behind the first stage -> diffusers'."""
    places, seen = {}, Counter[str]()
    for stage_name, block, stage in _stages(backbone):
        for index, layer in enumerate(stage):
            kind = f"{block}.{_KINDS[type(layer)]}"
            places[f"{stage_name}.{index}"] = f"{kind}.{seen[kind]}"
            seen[kind] += 1
    return places


def _in_time(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a network is in time."""
    return {name: tensor for name, tensor in state.items() if any(part in name for part in _IN_TIME)}


def _image_names(backbone: nn.Module) -> dict[str, str]:
    """Our names of all that is not in time -> those in a network in which no motion modules stand between."""
    places: dict[str, str] = {}
    for name, _, stage in _stages(backbone):
        image = [index for index, layer in enumerate(stage) if not isinstance(layer, MotionLayer)]
        places |= {f"{name}.{index}": f"{name}.{place}" for place, index in enumerate(image)}
    own = backbone.state_dict()
    return {ours: _moved(ours, places) for ours in own.keys() - _in_time(own).keys()}


def _stages(backbone: Any) -> Iterator[tuple[str, str, Iterable[nn.Module]]]:
    """Our name of every stage but the first, the block of diffusers that holds it, and its layers."""
    of_block = backbone.blocks_per_level + 1  # stages: its residual blocks and the change of resolution
    for index, stage in enumerate(backbone.encoder[1:]):
        yield f"encoder.{index + 1}", f"down_blocks.{index // of_block}", stage
    yield "middle", "mid_block", backbone.middle
    for index, stage in enumerate(backbone.decoder):
        yield f"decoder.{index}", f"up_blocks.{index // of_block}", stage


def _moved(name: str, places: Mapping[str, str]) -> str:
    """A name whose layer stands at another place."""
    layer = _LAYER.match(name)
    return places[layer[0]] + name[layer.end() :] if layer and layer[0] in places else name
