"""The samplers against golden values, diffusers' schedulers, and the closed forms of guidance and straight flows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.diffusion import OBJECTIVES, NoiseSchedule, sample
from stbench.diffusion.samplers import Sampling, check_sampling, guided_channel_count
from stbench.errors import StbenchError

SHAPE = (2, 4, 2, 4, 4)
LEVELS = NoiseSchedule.linear().alphas_cumprod.float()
LABELS = Conditioning(class_labels=torch.tensor([1, 3]))
GIVEN = ("fps", "concat", "first_frame", "motion_mask", "motion_strength")


def golden_backbone(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    noise_level = (1 - LEVELS[timesteps]).sqrt().reshape(-1, 1, 1, 1, 1)
    return torch.cat([noise_level * x + 0.05, 0.5 * x.sin()], dim=1)


def formula_input(shape: tuple[int, ...], phase: float) -> Tensor:
    """The golden file's X, in its own layout."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return (1.5 * torch.sin(0.013 * k + 0.0007 * k * k + phase)).float().reshape(shape)


def normal(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def noise_from(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Fresh noise of any shape from one stream."""
    return lambda like: torch.randn(like.shape, generator=generator)


def draw(backbone: Callable[..., Tensor], conditioning: Conditioning = UNCONDITIONAL, **options: Any) -> Tensor:
    """Sample with the defaults that most tests share."""
    listeners = {name: options.pop(name) for name in ("draw_noise", "progress") if name in options}
    defaults: dict[str, Any] = {"objective": "ddpm", "sampler": "ddim", "num_sampling_steps": 10, "num_classes": 5}
    return sample(backbone, normal(), conditioning, Sampling(**{**defaults, **options}), **listeners)


@pytest.mark.parametrize(("name", "spacing"), [("sample_ddim_50", "uniform"), ("sample_ddim_ddim50", "ddim")])
def test_golden_samples(repository: Path, name: str, spacing: str) -> None:
    golden = json.loads((repository / "tests" / "golden" / "golden.json").read_text())[name]
    noise = formula_input((1, 2, 4, 4, 4), 2.0).transpose(1, 2)
    sampling = Sampling(objective="ddpm", sampler="ddim", num_sampling_steps=50, num_classes=0, spacing=spacing)
    out = sample(golden_backbone, noise, UNCONDITIONAL, sampling).transpose(1, 2)
    torch.testing.assert_close(out.flatten()[:6], torch.tensor(golden["first"]), rtol=1e-5, atol=1e-5)
    assert out.mean().item() == pytest.approx(golden["mean"], abs=1e-5)
    assert out.std().item() == pytest.approx(golden["std"], abs=1e-5)


def run_scheduler(scheduler: Any, count: int, timestep_map: Tensor | None = None, **step_options: Any) -> Tensor:
    """Sample with a diffusers scheduler, whose timesteps the backbone sees through `timestep_map`."""
    scheduler.set_timesteps(count)
    generator = torch.Generator().manual_seed(7)
    x = normal()
    for timestep in scheduler.timesteps:
        seen = timestep if timestep_map is None else timestep_map[timestep]
        prediction = golden_backbone(x, seen.expand(len(x)), UNCONDITIONAL)
        if type(scheduler).__name__ == "DDIMScheduler":
            prediction = prediction[:, :4]
        x = scheduler.step(prediction, timestep, x, generator=generator, **step_options).prev_sample
    return x


LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}


@pytest.mark.parametrize(("count", "eta"), [(50, 0.0), (50, 1.0), (250, 0.0)])
def test_ddim_stride_equals_diffusers_leading_spacing(count: int, eta: float) -> None:
    schedulers = pytest.importorskip("diffusers").schedulers
    scheduler = schedulers.DDIMScheduler(**LINEAR, timestep_spacing="leading", steps_offset=0, set_alpha_to_one=True)
    expected = run_scheduler(scheduler, count, eta=eta)
    generator = torch.Generator().manual_seed(7)
    out = draw(golden_backbone, num_sampling_steps=count, spacing="ddim", eta=eta, draw_noise=noise_from(generator))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("count", [50, 250])
def test_ddim_uniform_equals_diffusers_on_the_respaced_betas(count: int) -> None:
    """No spacing of diffusers is Latte's, but a scheduler trained on the respaced betas takes the same steps."""
    schedulers = pytest.importorskip("diffusers").schedulers
    short = NoiseSchedule.linear().respaced(str(count))
    scheduler = schedulers.DDIMScheduler(
        num_train_timesteps=count, trained_betas=short.betas.numpy(), clip_sample=False, timestep_spacing="leading"
    )
    expected = run_scheduler(scheduler, count, timestep_map=short.timestep_map)
    torch.testing.assert_close(draw(golden_backbone, num_sampling_steps=count), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("count", "spacing", "theirs"),
    [(50, "uniform", "linspace"), (250, "uniform", "linspace"), (250, "ddim", "leading")],
)
def test_ddpm_equals_diffusers_with_learned_range(count: int, spacing: str, theirs: str) -> None:
    schedulers = pytest.importorskip("diffusers").schedulers
    scheduler = schedulers.DDPMScheduler(**LINEAR, variance_type="learned_range", timestep_spacing=theirs)
    expected = run_scheduler(scheduler, count)
    generator = torch.Generator().manual_seed(7)
    out = draw(
        golden_backbone, sampler="ddpm", num_sampling_steps=count, spacing=spacing, draw_noise=noise_from(generator)
    )
    torch.testing.assert_close(out, expected, rtol=2e-5, atol=5e-5)


def test_euler_equals_diffusers_flow_matching() -> None:
    schedulers = pytest.importorskip("diffusers").schedulers
    scheduler = schedulers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / 10 for i in range(10)])
    expected, seen = normal(), []

    def velocity(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return x.tanh() + timesteps.reshape(-1, 1, 1, 1, 1) / 1000

    for timestep in scheduler.timesteps:
        seen.append(timestep.item())
        expected = scheduler.step(velocity(expected, timestep.expand(2), UNCONDITIONAL), timestep, expected).prev_sample
    assert seen == pytest.approx([1000, 900, 800, 700, 600, 500, 400, 300, 200, 100])
    out = draw(velocity, objective="flow", sampler="euler")
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_euler_is_exact_on_a_straight_flow(count: int) -> None:
    clean = normal(seed=1)
    out = draw(lambda x, t, c: normal() - clean, objective="flow", sampler="euler", num_sampling_steps=count)
    torch.testing.assert_close(out, clean, rtol=1e-5, atol=1e-5)


def test_euler_on_a_linear_flow() -> None:
    """The velocity x is followed exactly by factors of 1 - 1/N."""
    out = draw(lambda x, t, c: x, objective="flow", sampler="euler", num_sampling_steps=8)
    torch.testing.assert_close(out, normal() * (1 - 1 / 8) ** 8)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("objective", ["ddpm", "x0"])
def test_known_clean_latents_are_found(objective: str, sampler: str) -> None:
    """A backbone that knows the clean latents predicts them or the very noise, and both samplers end on them."""
    clean = normal(seed=1)

    def knowing(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        if objective == "x0":
            return clean
        level = LEVELS[timesteps].reshape(-1, 1, 1, 1, 1)
        return torch.cat([(x - level.sqrt() * clean) / (1 - level).sqrt(), torch.zeros_like(x)], dim=1)

    torch.testing.assert_close(draw(knowing, objective=objective, sampler=sampler), clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
def test_clean_latents_and_noise_say_the_same_of_one_schedule(
    sampler: str, eta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OBJECTIVES, "x0", replace(OBJECTIVES["x0"], schedule=NoiseSchedule.linear))

    def noise(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        predicted = golden_backbone(x, timesteps, conditioning)[:, :4]
        return torch.cat([predicted, torch.full_like(predicted, -1)], dim=1)  # the variance of the posterior

    def clean(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        level = LEVELS[timesteps].reshape(-1, 1, 1, 1, 1)
        return (x - (1 - level).sqrt() * noise(x, timesteps, conditioning)[:, :4]) / level.sqrt()

    by_noise, by_clean = (
        draw(each, objective=name, sampler=sampler, eta=eta, draw_noise=noise_from(torch.Generator().manual_seed(7)))
        for each, name in ((noise, "ddpm"), (clean, "x0"))
    )
    torch.testing.assert_close(by_clean, by_noise, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_clean_latents_under_a_cosine_equal_diffusers(sampler: str) -> None:
    schedulers = pytest.importorskip("diffusers").schedulers
    options = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", "clip_sample": False}
    scheduler = {
        "ddim": lambda: schedulers.DDIMScheduler(**options, timestep_spacing="leading", set_alpha_to_one=True),
        "ddpm": lambda: schedulers.DDPMScheduler(**options, timestep_spacing="leading", variance_type="fixed_small"),
    }[sampler]()
    scheduler.set_timesteps(50)
    generator, x = torch.Generator().manual_seed(7), normal()

    def backbone(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return 0.9 * x.sin() + timesteps.reshape(-1, 1, 1, 1, 1) / 5000

    for timestep in scheduler.timesteps:
        predicted = backbone(x, timestep.expand(len(x)), UNCONDITIONAL)
        x = scheduler.step(predicted, timestep, x, generator=generator).prev_sample
    drawn = noise_from(torch.Generator().manual_seed(7))
    out = draw(backbone, objective="x0", sampler=sampler, num_sampling_steps=50, spacing="ddim", draw_noise=drawn)
    torch.testing.assert_close(out, x, rtol=1e-4, atol=1e-4)


def labelled(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """A backbone of which noise and variance depend on the label only."""
    assert conditioning.class_labels is not None
    value = conditioning.class_labels.float().reshape(-1, 1, 1, 1, 1) / 10
    return torch.cat([value.expand_as(x), -value.expand_as(x)], dim=1)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize(("guided_channels", "variance_guided"), [("published", False), ("all", True)])
def test_guidance_equals_the_formula(sampler: str, guided_channels: str, variance_guided: bool) -> None:
    """Guiding inside the sampler equals sampling, unguided, a backbone that has the formula built in."""
    scale, null = 4.0, torch.full((2,), 5)

    def formula(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        conditional = labelled(x, timesteps, conditioning)
        unconditional = labelled(x, timesteps, Conditioning(null))
        guided = scale * conditional + (1 - scale) * unconditional
        return torch.cat([guided[:, :4], guided[:, 4:] if variance_guided else conditional[:, 4:]], dim=1)

    def seeded() -> dict[str, Any]:
        return {"sampler": sampler, "draw_noise": noise_from(torch.Generator().manual_seed(3))}

    out = draw(labelled, LABELS, cfg_scale=scale, guided_channels=guided_channels, **seeded())
    torch.testing.assert_close(out, draw(formula, LABELS, **seeded()), rtol=1e-4, atol=1e-4)


def test_guidance_tells_both_halves_all_but_label_and_context() -> None:
    """What is given of a clip is given to the unconditional half as well."""
    given: dict[str, Any] = {name: torch.full((2, 1), float(index)) for index, name in enumerate(GIVEN)}
    seen: list[Conditioning] = []

    def watching(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(conditioning)
        return labelled(x, timesteps, conditioning)

    draw(watching, replace(LABELS, context=torch.ones(2, 3, 4), **given), cfg_scale=2.0)
    assert seen[0].context is not None
    assert torch.equal(seen[0].context, torch.cat([torch.ones(2, 3, 4), torch.zeros(2, 3, 4)]))
    for name, value in given.items():
        assert torch.equal(getattr(seen[0], name), torch.cat([value, value]))


def test_a_family_says_how_many_channels_its_authors_guide() -> None:
    """As DiT's authors, the first three of four; asked for all, and where it says nothing, it makes no difference."""

    class OfThree:
        published_guided_channels = 3
        __call__ = staticmethod(labelled)

    free = draw(labelled, LABELS, cfg_scale=1.0)
    guided = draw(labelled, LABELS, cfg_scale=4.0)
    out = draw(OfThree(), LABELS, cfg_scale=4.0)
    assert torch.equal(out[:, :3], guided[:, :3])
    assert torch.equal(out[:, 3:], free[:, 3:])
    assert torch.equal(draw(OfThree(), LABELS, cfg_scale=4.0, guided_channels="all")[:, :4], guided)


@pytest.mark.parametrize(
    ("objective", "guided_channels", "in_channels", "expected"),
    [("ddpm", "published", 4, 4), ("ddpm", "all", 4, 8), ("flow", "published", 4, 4), ("flow", "all", 3, 3)],
)
def test_number_of_guided_channels(objective: str, guided_channels: str, in_channels: int, expected: int) -> None:
    assert guided_channel_count(labelled, objective, guided_channels, in_channels) == expected


def test_guidance_of_a_flow() -> None:
    """Constant velocities 0.1 and 0.3 and null 0.5: the guided one is u + 2 (c - u), all channels."""
    out = draw(lambda x, t, c: labelled(x, t, c)[:, :4], LABELS, objective="flow", sampler="euler", cfg_scale=2.0)
    velocity = torch.tensor([2 * 0.1 - 0.5, 2 * 0.3 - 0.5]).reshape(2, 1, 1, 1, 1)
    torch.testing.assert_close(out, normal() - velocity, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cfg_scale", "batch_seen"), [(1.0, 2), (1.5, 4), (0.0, 4)])
def test_what_the_backbone_sees(cfg_scale: float, batch_seen: int) -> None:
    concat = torch.randn(2, 3, 4, 2, 2)
    conditioning = Conditioning(torch.tensor([1, 3]), torch.ones(2, 7, 3), torch.tensor([8, 24]), concat=concat)
    calls: list[tuple[Tensor, Tensor, Conditioning]] = []

    def watching(x: Tensor, timesteps: Tensor, given: Conditioning) -> Tensor:
        calls.append((x, timesteps, given))
        return golden_backbone(x, timesteps, given)

    draw(watching, conditioning, cfg_scale=cfg_scale, num_sampling_steps=5)
    x, _, seen = calls[0]
    assert [timesteps.tolist() for _, timesteps, _ in calls] == [[t] * batch_seen for t in (999, 749, 500, 250, 0)]
    assert seen.class_labels is not None and seen.context is not None
    assert seen.fps is not None and seen.concat is not None
    if cfg_scale == 1.0:
        assert seen is conditioning
        return
    assert torch.equal(x[:2], x[2:])
    assert seen.class_labels.tolist() == [1, 3, 5, 5]
    assert seen.fps.tolist() == [8, 24, 8, 24]
    assert torch.equal(seen.concat, torch.cat([concat, concat]))
    assert seen.context[:2].eq(1).all() and seen.context[2:].eq(0).all()


def test_samples_repeat_with_the_generator_and_only_then() -> None:
    first, again, other = (
        draw(golden_backbone, sampler="ddpm", draw_noise=noise_from(torch.Generator().manual_seed(seed)))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_ddim_without_eta_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    draw(golden_backbone, draw_noise=noise_from(generator))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler"])
def test_no_value_is_read_back_inside_the_loop(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a tensor's value makes the host wait for the device; none may happen once the first step has begun."""
    reads: list[str] = []
    started: list[bool] = []

    def spy(name: str) -> Callable[..., Any]:
        original = getattr(Tensor, name)

        def read(self: Tensor, *args: Any) -> Any:
            if started:
                reads.append(name)
            return original(self, *args)

        return read

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(Tensor, name, spy(name))

    def backbone(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        started.append(True)
        return x if sampler == "euler" else torch.cat([x, x], dim=1)

    draw(backbone, LABELS, sampler=sampler, objective="flow" if sampler == "euler" else "ddpm", cfg_scale=2.0)
    assert len(started) == 10
    assert reads == []


@pytest.mark.parametrize(("sampler", "objective"), [("ddpm", "ddpm"), ("ddim", "ddpm"), ("euler", "flow")])
def test_progress_counts_every_step_and_no_gradient_is_kept(sampler: str, objective: str) -> None:
    told: list[tuple[int, int]] = []
    weight = torch.ones((), requires_grad=True)
    channels = 4 if objective == "flow" else 8

    def backbone(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return weight * x.repeat(1, 2, 1, 1, 1)[:, :channels]

    options: dict[str, Any] = {"sampler": sampler, "objective": objective, "num_sampling_steps": 4}
    out = draw(backbone, progress=lambda done, total: told.append((done, total)), **options)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not out.requires_grad
    assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dpm"}, "unknown objective 'dpm': did you mean 'ddpm'"),
        ({"sampler": "dimm"}, "unknown sampler 'dimm': did you mean 'ddim'"),
        ({"spacing": "unifrom"}, "unknown spacing 'unifrom': did you mean 'uniform'"),
        ({"guided_channels": "some"}, "unknown guided_channels 'some'"),
        ({"sampler": "euler"}, "sampler=euler does not fit objective=ddpm: expected ddpm or ddim"),
        ({"objective": "x0", "sampler": "euler"}, "sampler=euler does not fit objective=x0: expected ddpm or ddim"),
        ({"objective": "flow"}, "sampler=ddim does not fit objective=flow: expected euler"),
        ({"objective": "flow", "sampler": "euler", "spacing": "ddim"}, "spacing=ddim does not fit sampler=euler"),
        ({"objective": "flow", "sampler": "euler", "num_sampling_steps": 0}, "num_sampling_steps=0"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta=0.5 does not fit sampler=ddpm"),
        ({"eta": -0.1}, "eta=-0.1: expected a number from 0 to 1"),
        ({"num_sampling_steps": 1001}, "sampling steps '1001'"),
        ({"num_sampling_steps": 1}, "sampling steps '1'"),
        ({"num_sampling_steps": 300, "spacing": "ddim"}, "nearest: 'ddim250' or 'ddim334'"),
        ({"cfg_scale": 4.0}, "guidance needs class labels or a context"),
        ({"cfg_scale": 4.0, "conditioning": LABELS, "num_classes": 0}, "num_classes, got 0"),
        ({"conditioning": Conditioning(num_images=2)}, "expected num_images=0, got 2"),
    ],
)
def test_wrong_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        draw(golden_backbone, **options)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_sampled_is_refused_without_a_backbone() -> None:
    sampling = Sampling(objective="ddpm", sampler="ddpm", num_sampling_steps=1000, num_classes=0)
    check_sampling(sampling)
    check_sampling(replace(sampling, objective="flow", sampler="euler", num_sampling_steps=1))
    with pytest.raises(StbenchError, match="sampling steps '1001'"):
        check_sampling(replace(sampling, num_sampling_steps=1001))


@pytest.mark.parametrize(
    ("objective", "sampler", "wanted"),
    [("ddpm", "ddpm", True), ("ddpm", "ddim", True), ("x0", "ddim", False), ("flow", "euler", False)],
)
def test_wrong_number_of_channels(objective: str, sampler: str, wanted: bool) -> None:
    wrong = 4 if wanted else 8
    with pytest.raises(StbenchError, match=f"learned_variance={wanted}"):
        draw(lambda x, t, c: torch.zeros(2, wrong, 2, 4, 4), objective=objective, sampler=sampler)
