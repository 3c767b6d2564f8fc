"""What a run works with: shapes, facts, the protocol filled in, the reference, and what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stbench.backbones.base import Conditioning
from stbench.data.autoencoders import Autoencoder
from stbench.data.loading import evaluation_clips
from stbench.errors import StbenchError
from stbench.metrics import protocol
from stbench.profiling.flops import count_parameters
from stbench.records.protocol import difference
from stbench.run.evaluation import Evaluator
from stbench.run.preview import variant_of
from stbench.run.setup import prepare
from stbench.runtime.attention import choice
from stbench.settings.resolve import resolve

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


def test_what_follows_from_the_dataset_and_the_objective() -> None:
    setup = prepare(resolve(["variant=latte1", *SMOKE, "dataset.image_size=24", "dataset.num_frames=6"]))
    assert setup.latent_shape == (3, 6, 24, 24)
    assert setup.backbone_arguments == {
        "in_channels": 3, "sample_size": 24, "num_frames": 6, "num_classes": 4, "learned_variance": False,
    }  # fmt: skip
    ddpm = prepare(resolve(["variant=latte1", *SMOKE, "diffusion.objective=ddpm"]))
    assert ddpm.backbone_arguments["learned_variance"] is True
    assert (setup.sampling.sampler, ddpm.sampling.sampler) == ("euler", "ddpm")


def test_sampling_is_what_the_settings_say() -> None:
    words = ["eval.num_sampling_steps=5", "eval.cfg_scale=2", "eval.guided_channels=all", "eval.batch_size=3"]
    sampling = prepare(resolve(["variant=latte1", *SMOKE, *words])).sampling
    assert (sampling.num_sampling_steps, sampling.cfg_scale) == (5, 2.0)
    assert (sampling.guided_channels, sampling.batch_size, sampling.num_classes) == ("all", 3, 4)


def test_the_protocol_says_what_will_be_done() -> None:
    words = ["eval.num_clips=70", "eval.num_sampling_steps=5", "eval.cfg_scale=2", "eval.seed=9"]
    filled = prepare(resolve(["variant=latte1", *SMOKE, *words])).protocol
    assert (filled.num_real, filled.num_fake, filled.num_sampling_steps) == (70, 70, 5)
    assert (filled.cfg_scale, filled.sampling_seed, filled.sampler, filled.ema) == (2.0, 9, "euler", True)
    assert (filled.dataset, filled.resolution, filled.num_frames, filled.frame_stride_real) == ("shapes", 16, 8, 1)
    assert (filled.autoencoder, filled.autoencoder_sha256) == ("pixels", None)
    assert (filled.guided_channels, filled.class_labels) == (3, "4 classes in turn")
    assert filled.sampling_precision == "float32"
    unguided = prepare(
        resolve(["variant=latte1", *SMOKE[1:2], "device=cpu", "dataset=clouds", "precision=bfloat16"])
    ).protocol
    assert (unguided.guided_channels, unguided.class_labels) == (None, "none")
    assert unguided.sampling_precision == "bfloat16"


@pytest.mark.parametrize(
    ("variant", "words", "expected"),
    [
        ("latte1", ["diffusion.objective=ddpm"], 4),
        ("latte1", ["diffusion.objective=ddpm", "eval.guided_channels=all"], 8),
        ("latte1", ["eval.guided_channels=all"], 4),  # velocities have no variance
        ("dit", ["diffusion.objective=ddpm"], 3),
        ("dit", ["diffusion.objective=ddpm", "eval.guided_channels=all"], 8),
    ],
)
def test_the_protocol_counts_the_channels_that_guidance_changes(
    variant: str, words: list[str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents of four channels, which an autoencoder of its own would need weights for."""
    monkeypatch.setattr(Autoencoder, "channels", 4)
    setup = prepare(resolve([f"variant={variant}", *SMOKE, "eval.cfg_scale=2", *words]))
    assert setup.protocol.guided_channels == expected


def test_during_training_only_numbers_of_the_protocol_are_smaller() -> None:
    words = ["eval.num_clips=80", "eval.curve_clips=70", "eval.num_sampling_steps=5", "eval.curve_sampling_steps=3"]
    setup = prepare(resolve(["variant=latte1", *SMOKE, *words]))
    assert difference(setup.protocol, setup.during_training.protocol) == {
        "num_real": (80, 70),
        "num_fake": (80, 70),
        "num_sampling_steps": (5, 3),
    }
    assert setup.during_training.sampling.num_sampling_steps == 3
    assert setup.during_training.dataset is setup.dataset


def test_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        backbone = prepare(resolve(["variant=latte1", *SMOKE, f"seed={seed}"])).build_backbone()
        return torch.cat([parameter.flatten() for parameter in backbone.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_what_a_run_freezes_has_no_gradient_and_is_refused_by_name() -> None:
    words = ["variant=latte1", *SMOKE]
    setup = prepare(resolve([*words, "train.freeze=blocks"]))
    frozen = [name for name, p in setup.construct_backbone().named_parameters() if not p.requires_grad]
    assert frozen and all(name.startswith("blocks.") for name in frozen)
    assert all(parameter.requires_grad for parameter in setup.construct_unfrozen().parameters())
    assert count_parameters(variant_of(setup).subject.construct()) == count_parameters(setup.construct_backbone())
    with pytest.raises(StbenchError) as caught:
        prepare(resolve([*words, "train.freeze=bloks"]))
    assert str(caught.value) == (
        "train.freeze=bloks matches no parameter: their names begin with patch_embed, timestep_embed, class_embed, "
        "blocks, final"
    )


def test_a_run_knows_only_what_auto_chose_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run of a process used to record the shapes of the first. Averaged weights belong to the same run."""
    monkeypatch.setattr(choice, "MAX_SECONDS", 0.01)
    lengths = (4, 6)
    setups = [
        prepare(resolve(["variant=latte1", *SMOKE[:-1], "attention=auto", f"dataset.num_frames={F}"])) for F in lengths
    ]
    for F, setup in zip(lengths, setups, strict=True):
        backbone = setup.build_backbone()
        averaged = copy.deepcopy(backbone)
        latents, labels = torch.zeros(1, *setup.latent_shape), Conditioning(class_labels=torch.zeros(1).long())
        with torch.no_grad():
            backbone(latents, torch.zeros(1), labels)
            rows = setup.runtime.attention_choices.rows()
            averaged(latents, torch.zeros(1), labels)
        assert {size[-2] for row in rows for size in row.shapes} == {F, 16}  # over time, and over 4 x 4 patches
        assert setup.runtime.attention_choices.rows() == rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["protocol=latte-2048-16f"], "16 frames: dataset.num_frames=8 does not fit"),
        (["protocol=latte-2048-16f", "dataset.num_frames=16"], "256 pixels: dataset.image_size=16 does not fit"),
        (["dataset.num_frames=2", "variant.patch_embedding=uniform"], "the detector shapes3d needs at least 4"),
    ],
)
def test_clips_that_the_protocol_does_not_judge(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latte = protocol.PROTOCOLS["latte-2048-16f"]
    known = replace(latte, detector="shapes3d", preprocessing="resize32", feature_dim=64)
    monkeypatch.setitem(protocol.PROTOCOLS, "latte-2048-16f", known)
    with pytest.raises(StbenchError, match=message):
        prepare(resolve(["variant=latte1", *SMOKE, *words]))


def test_the_reference_has_the_stride_of_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latte's protocol takes every third frame of real videos, whatever stride the training clips have."""
    monkeypatch.setitem(protocol.PROTOCOLS, "strided", replace(protocol.PROTOCOLS["builtin"], frame_stride_real=3))
    setup = prepare(resolve(["variant=latte1", *SMOKE, "protocol=strided"]))
    assert (setup.dataset.frame_stride, setup.reference.frame_stride) == (1, 3)
    assert setup.protocol.frame_stride_real == 3
    assert Evaluator(setup).num_real == 8


@pytest.fixture
def videos(tmp_path: Path) -> list[str]:
    """Words of a run on three folders of ten images."""
    for video in range(3):
        (tmp_path / f"video{video}").mkdir()
        for frame in range(10):
            pixels = np.random.default_rng([video, frame]).integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"video{video}" / f"{frame:03d}.png")
    return ["variant=latte1", "dataset=video_folder", f"dataset.root={tmp_path}", *SMOKE[1:]]


@pytest.mark.parametrize("rule", ["crop-resize-lanczos", "resize-crop-lanczos"])
def test_the_reference_is_made_square_by_the_protocol(
    rule: str, videos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule that stands in the protocol is the one that is carried out, whatever the training clips have."""
    monkeypatch.setitem(protocol.PROTOCOLS, "ruled", replace(protocol.PROTOCOLS["builtin"], spatial_rule=rule))
    words = [*videos, "protocol=ruled"]
    setup = prepare(resolve(words))
    assert setup.protocol.spatial_rule == rule
    (batch,) = evaluation_clips(setup.reference, 3, 0, batch_size=3)
    fixed = prepare(resolve([*words, f"dataset.spatial_rule={rule}"]))
    (expected,) = evaluation_clips(fixed.dataset, 3, 0, batch_size=3)
    assert torch.equal(batch.clips, expected.clips)
    other = prepare(resolve([*words, "dataset.spatial_rule=crop-resize-lanczos"])).dataset
    (training,) = evaluation_clips(other, 3, 0, batch_size=3)
    assert torch.equal(batch.clips, training.clips) is (rule == "crop-resize-lanczos")


def test_the_reference_has_the_clips_of_the_protocol(videos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed of the training clips used to decide which real clips were judged, under one protocol hash."""

    def real_clips(*words: str) -> torch.Tensor:
        setup = prepare(resolve([*videos, "dataset.num_frames=4", *words]))
        (batch,) = evaluation_clips(setup.reference, 3, setup.protocol.clip_seed, batch_size=3)
        return batch.clips

    first = real_clips()
    assert torch.equal(real_clips("dataset.seed=5"), first)
    monkeypatch.setitem(protocol.PROTOCOLS, "seeded", replace(protocol.PROTOCOLS["builtin"], clip_seed=5))
    seeded = real_clips("protocol=seeded")
    assert not torch.equal(seeded.sort(0).values, first.sort(0).values)  # other clips, not only another order
    assert torch.equal(seeded, real_clips("protocol=seeded", "dataset.seed=1"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("eval.num_sampling_steps=2000", r"^eval\.num_sampling_steps=2000: .* to 1000$"),
        ("eval.curve_sampling_steps=2000", r"^eval\.curve_sampling_steps=2000: .* to 1000$"),
    ],
)
def test_what_cannot_be_sampled_is_refused_before_training(smoke: list[str], word: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        prepare(resolve(["variant=latte1", *smoke, "diffusion.objective=ddpm", word]))


def test_a_dataset_without_videos_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stbench.data.synthetic.Shapes.__len__", lambda _: 0)
    with pytest.raises(StbenchError, match=r"^dataset 'shapes' has no videos$"):
        prepare(resolve(["variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu"]))


def test_samples_are_told_the_frame_rate_of_the_dataset_where_training_tells_several() -> None:
    words = ["variant=pseudo3d_unet", "variant.frame_rate=true", *SMOKE, "dataset.frame_stride=2"]
    setup, untold = (prepare(resolve([*words, *more])) for more in (["train.frame_strides=[1,4]"], []))
    assert (setup.fps, setup.sampling.fps, setup.task.fps) == (4, 4, 4)
    assert setup.protocol.class_labels == "4 classes in turn; 4 frames per second"
    assert {setup.training_set.fps_of(index, 0) for index in range(40)} == {8, 2}
    assert (untold.fps, untold.protocol.class_labels) == (None, "4 classes in turn")
    assert untold.training_set is untold.dataset


@pytest.mark.parametrize("variant", ["latte1", "pseudo3d_unet", "lvdm_unet"])
@pytest.mark.parametrize("task", ["generate", "interpolate"])
def test_a_network_that_reads_no_frame_rate_is_refused_by_name(variant: str, task: str) -> None:
    with pytest.raises(StbenchError, match=rf"^train\.frame_strides: variant '{variant}' reads no frame rate"):
        prepare(resolve([f"variant={variant}", *SMOKE, "train.frame_strides=[1,2]", f"task={task}"]))


def test_a_dataset_without_a_frame_rate_is_refused_by_name(tmp_path: Path) -> None:
    for index in range(9):
        (tmp_path / "video").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "video" / f"{index}.png")
    words = ["variant=videocrafter_unet", *SMOKE[1:], "dataset=video_folder", f"dataset.root={tmp_path}"]
    with pytest.raises(StbenchError, match=r"^train\.frame_strides=\[1\]: VideoFolder does not know one frame rate of"):
        prepare(resolve([*words, "train.frame_strides=[1]"]))


def test_weights_of_lpips_that_are_none_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STBENCH_LPIPS", "nowhere.pth")
    words = ["variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu"]
    prepare(resolve(words))
    with pytest.raises(StbenchError, match=r"nowhere\.pth does not exist"):
        prepare(resolve([*words, "task=upscale"]))
