"""Video models of diffusers: published counts, what is filled in, and what is refused by name."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from stbench.backbones.base import Conditioning
from stbench.errors import StbenchError
from stbench.profiling.counts import count
from stbench.profiling.workload import Workload
from stbench.settings.components import load_component

pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
from stbench.backbones.diffusers_adapter import DiffusersAdapter

LATENTS = torch.zeros(2, 3, 4, 8, 8)
TIMESTEPS = torch.tensor([10, 900])


def tiny(variant: str, **overrides: Any) -> Any:
    component, _ = load_component("variant", variant).with_preset("smoke")
    facts = {"in_channels": 3, "num_frames": 4, "sample_size": 8, "num_classes": 5, "learned_variance": False}
    torch.manual_seed(0)
    return component.construct({**facts, **overrides}).eval()


# ---- published configurations, on the meta device ----

# The authors' AnimateDiff projects the timestep once a clip, diffusers the same once a frame: 25,804,800 weights.
ONCE_A_FRAME = 2 * 15 * 25_804_800


@pytest.mark.parametrize(
    ("variant", "latents", "parameters", "flops"),
    [
        ("latte_diffusers", (4, 16, 64, 64), 1_057_246_880, 34_399_024_349_184),
        ("modelscope_unet", (4, 16, 40, 64), 1_411_233_860, 12_581_406_801_920),
        ("svd", None, 1_524_623_082, None),
        ("animatediff", (4, 16, 64, 64), 1_312_730_244, 17_748_137_738_240 + ONCE_A_FRAME),
    ],
)
def test_published_counts(
    variant: str, latents: tuple[int, int, int, int] | None, parameters: int, flops: int | None
) -> None:
    component = load_component("variant", variant)
    with torch.device("meta"):
        backbone = component.construct(component.published)
    assert sum(each.numel() for each in backbone.parameters()) == parameters
    if latents is not None:
        C, F, H, W = latents
        facts = {**component.published, "in_channels": C, "num_frames": F, "sample_size": (H, W)}
        workload = Workload(latents, context_shape=backbone.context_shape)
        counts = count(lambda: component.construct(facts), workload, with_fvcore=False)
        assert counts.gflops * 1e9 == pytest.approx(flops, abs=0.5)
        assert counts.incomplete == ()


def test_operations_of_wan_in_closed_form() -> None:
    component = load_component("variant", "wan")
    with torch.device("meta"):
        context_shape = component.construct(component.published).context_shape
    workload = Workload((16, 21, 60, 104), context_shape=context_shape)
    counts = count(lambda: component.construct(component.published), workload, with_fvcore=False)
    N, L, D, E, hidden = 21 * 30 * 52, 512, 5120, 4096, 13824  # tokens, those of the text, their widths
    own = 4 * N * D**2 + 2 * N**2 * D
    cross = 2 * N * D**2 + 2 * L * D**2 + 2 * N * L * D
    blocks = 40 * (own + cross + 2 * N * D * hidden)
    ends = 2 * N * 64 * D
    conditions = L * (E * D + D**2) + 256 * D + D**2 + 6 * D**2
    assert counts.gmacs * 1e9 == blocks + ends + conditions


# ---- what is filled in ----


class Model(torch.nn.Module):
    """Stands in for a model of diffusers: keeps what it is given, and returns the latents."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = type("Config", (), config)()

    def forward(self, *given: Any, return_dict: bool, **named: Any) -> tuple[Any]:
        assert return_dict is False
        self.given, self.named = given, named
        return (given[0],)


def called(variant: str, conditioning: Conditioning, **config: Any) -> tuple[Model, torch.Tensor]:
    backbone = tiny(variant)
    backbone.model = Model(**config)
    latents = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0))
    out = backbone(latents, TIMESTEPS, conditioning)
    assert torch.equal(out[:, :3], latents)  # whatever the model's own layout is
    return backbone.model, latents


def test_svd_is_told_the_frame_rate_and_gets_no_image() -> None:
    assert [tiny(variant).reads_frame_rate for variant in ("svd", "wan")] == [True, False]
    labels = torch.tensor([0, 5])
    model, latents = called("svd", Conditioning(class_labels=labels, fps=torch.tensor([8, 25])))
    frames, timesteps, context, times = model.given
    assert torch.equal(frames, torch.cat([latents, torch.zeros_like(latents)], dim=1).transpose(1, 2))
    assert torch.equal(timesteps, TIMESTEPS)
    assert context.shape == (2, 1, 32)
    torch.testing.assert_close(times, torch.tensor([[7, 127, 0.02], [24, 127, 0.02]]))
    model, _ = called("svd", Conditioning(class_labels=labels))
    torch.testing.assert_close(model.given[3], torch.tensor([[6, 127, 0.02]]).expand(2, 3))


def test_ltx_gets_patches_as_tokens_and_their_grid() -> None:
    model, latents = called("ltx", Conditioning(class_labels=torch.tensor([0, 5])), patch_size=4)
    tokens, context, _, mask = model.given
    assert tokens.shape == (2, 4 * 2 * 2, 3 * 4 * 4)
    assert torch.equal(tokens[1, 7].view(3, 4, 4), latents[1, :, 1, 4:, 4:])  # frame 1, last row, last column
    assert mask.shape == context.shape[:2]
    assert mask.all()
    assert [model.named[key] for key in ("num_frames", "height", "width")] == [4, 2, 2]


def test_the_context_of_cogvideox_is_filled_up() -> None:
    told = Conditioning(context=torch.ones(2, 3, 32))
    config = {"max_text_seq_length": 4, "use_rotary_positional_embeddings": False}
    model, _ = called("cogvideox", told, **config)
    assert torch.equal(model.given[1].sum(dim=2), torch.tensor([[32.0, 32.0, 32.0, 0.0]]).expand(2, 4))
    assert model.named["image_rotary_emb"] is None


def test_cogvideox_with_rotary_positions() -> None:
    config = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 1, "text_embed_dim": 8}
    config |= {"max_text_seq_length": 1, "patch_size": 4, "use_rotary_positional_embeddings": True}
    out = tiny("cogvideox", config=config)(LATENTS, TIMESTEPS, Conditioning(class_labels=torch.tensor([0, 5])))
    assert out.shape == LATENTS.shape


@pytest.mark.parametrize("variant", ["hunyuanvideo", "mochi"])
def test_no_token_of_the_context_is_masked(variant: str) -> None:
    backbone = tiny(variant, num_classes=0)
    context = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    base = backbone(LATENTS, TIMESTEPS, Conditioning(context=context))
    for token in range(6):
        changed = context.clone()
        changed[:, token] += 1
        assert not torch.equal(backbone(LATENTS, TIMESTEPS, Conditioning(context=changed)), base)


@pytest.mark.parametrize("variant", ["wan", "ltx"])
def test_the_timestep_of_a_frame_is_that_of_its_tokens(variant: str) -> None:
    """Before the frames see each other it moves one alone: without a block."""
    backbone = tiny(variant)
    assert backbone.per_frame_timesteps
    setattr(backbone.model, "blocks" if variant == "wan" else "transformer_blocks", torch.nn.ModuleList())
    latents = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0))
    told, timesteps = Conditioning(class_labels=torch.tensor([0, 5])), TIMESTEPS[:, None].repeat(1, 4)
    base = backbone(latents, timesteps, told)
    timesteps[:, 1] += 50
    apart = (backbone(latents, timesteps, told) - base).abs().amax(dim=(0, 1, 3, 4))
    assert (apart > 0).tolist() == [False, True, False, False]


def test_published_costs_have_a_context_and_classes_stand_in_for_it() -> None:
    assert tiny("wan", num_classes=0).context_shape == (4, 32)
    assert tiny("wan", num_classes=5).context_shape is None
    assert tiny("hunyuanvideo").fills_in.startswith("pooled_projections with zeros")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("variant", "overrides", "message"),
    [
        ("wan", {"model": "WanTransformer"}, r"unknown model 'WanTransformer': did you mean 'WanTransformer3DModel'"),
        ("wan", {"config": {"in_channels": 3}}, r"config\.in_channels of WanTransformer3DModel follows from the run"),
        ("wan", {"config": {"layers": 3}}, r"unknown key of WanTransformer3DModel's config 'layers': did you mean"),
        ("wan", {"sample_size": 10}, r"cells of 1 x 4 x 4: F x H x W = 4 x 10 x 10 must be multiples of it"),
        ("modelscope_unet", {"sample_size": (8, 9)}, r"cells of 1 x 2 x 2: F x H x W = 4 x 8 x 9 must be multiples"),
        ("animatediff", {"num_frames": 33}, r"num_frames=33: UNetMotionModel has config\.motion_max_seq_length=32"),
        ("wan", {"num_frames": 0}, r"num_frames=0: expected a whole number, at least 1"),
    ],
)
def test_a_network_that_cannot_be_built(variant: str, overrides: dict[str, Any], message: str) -> None:
    component, _ = load_component("variant", variant).with_preset("smoke")
    own: dict[str, Any] = {key: overrides.pop(key) for key in ("model", "config") if key in overrides}
    facts = {"in_channels": 3, "num_frames": 4, "sample_size": 8, **overrides}
    with pytest.raises(StbenchError, match=message):
        component.with_arguments(own).construct(facts)


@pytest.mark.parametrize(
    ("latents", "conditioning", "message"),
    [
        (LATENTS[:, :, :3], {}, r"expects latents \(B, C, F, H, W\) = \(B, 3, 4, 8, 8\), got \(2, 3, 3, 8, 8\)"),
        (LATENTS, {"num_images": 1}, r"no image-video joint training: set train\.joint_images=0"),
        (LATENTS, {"context": torch.zeros(2, 7, 31)}, r"expected \(B, L, D\) = \(2, L, 32\), got \(2, 7, 31\)"),
        (LATENTS, {"context": torch.zeros(2, 5, 32)}, r"at most config\.max_text_seq_length=4 tokens, got 5"),
    ],
)
def test_input_that_does_not_fit(latents: torch.Tensor, conditioning: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        tiny("cogvideox")(latents, TIMESTEPS, Conditioning(**conditioning))


def test_without_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        StbenchError, match=r"model=WanTransformer3DModel needs diffusers: pip install 'stbench\[diffusers\]'"
    ):
        DiffusersAdapter(model="WanTransformer3DModel")


def test_with_a_diffusers_that_lacks_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    old = type(sys)("diffusers")
    old.__version__ = "0.30.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", old)
    with pytest.raises(StbenchError, match=r"diffusers 0\.30\.0 has no such class: pip install -U diffusers"):
        DiffusersAdapter(model="SanaVideoTransformer3DModel")
