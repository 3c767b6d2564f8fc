"""The objectives against golden values, independent formulas and the closed forms of simple backbones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.diffusion import OBJECTIVES, LossTerms, NoiseSchedule, diffusion_loss, sample_timesteps
from stbench.errors import StbenchError

SHAPE = (6, 4, 2, 4, 4)
TIMESTEPS = torch.tensor([0, 1, 10, 100, 500, 999])


@pytest.fixture(scope="module")
def golden(repository: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((repository / "tests" / "golden" / "golden.json").read_text())
    return loaded["latte_loss"]


def formula_input(shape: tuple[int, ...], phase: float) -> Tensor:
    """The golden file's X, whose layout is (B,F,C,H,W), handed over as (B,C,F,H,W)."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return (1.5 * torch.sin(0.013 * k + 0.0007 * k * k + phase)).float().reshape(shape).transpose(1, 2)


def golden_backbone(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    level = NoiseSchedule.linear().alphas_cumprod[timesteps].float().reshape(-1, 1, 1, 1, 1)
    return torch.cat([(1 - level).sqrt() * x + 0.05, 0.5 * x.sin()], dim=1)


def golden_loss() -> LossTerms:
    clean, noise = 0.8 * formula_input((6, 2, 4, 4, 4), 0.0), formula_input((6, 2, 4, 4, 4), 1.0)
    return diffusion_loss(golden_backbone, clean, TIMESTEPS, noise, UNCONDITIONAL)


@pytest.mark.parametrize(("term", "name"), [("mse", "mse"), ("vb", "vb"), ("total", "loss")])
def test_latte_loss_golden_values(golden: dict[str, Any], term: str, name: str) -> None:
    torch.testing.assert_close(getattr(golden_loss(), term), torch.tensor(golden[name]), rtol=2e-5, atol=2e-7)


def test_bound_is_zero_for_the_posterior_itself() -> None:
    """The exact noise and the lower end of the variance range make p equal to q, so that the divergence vanishes."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))

    def perfect(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.cat([noise, torch.full_like(noise, -1)], dim=1)

    terms = diffusion_loss(perfect, torch.zeros(SHAPE), TIMESTEPS, noise, UNCONDITIONAL)
    assert terms.mse.max() == 0
    assert terms.vb is not None
    assert terms.vb[1:].abs().max() < 1e-6


def test_bound_against_torch_distributions() -> None:
    """The divergence of two normal distributions as torch.distributions computes it, in float64."""
    schedule = NoiseSchedule.linear()
    steps = TIMESTEPS[1:]
    generator = torch.Generator().manual_seed(1)
    clean, noise, predicted, weights = torch.randn(4, *SHAPE, generator=generator)[:, 1:]
    prediction = torch.cat([predicted, weights], dim=1)
    terms = diffusion_loss(lambda x, t, c: prediction, clean, steps, noise, UNCONDITIONAL)

    def column(table: Tensor) -> Tensor:
        return table[steps].reshape(-1, 1, 1, 1, 1)

    beta, level, previous = map(column, (schedule.betas, schedule.alphas_cumprod, schedule.alphas_cumprod_previous))
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    tilde = beta * (1 - previous) / (1 - level)

    def mean_of(epsilon: Tensor) -> Tensor:  # DDPM, equation 11
        return (noisy - beta / (1 - level).sqrt() * epsilon) / (1 - beta).sqrt()

    share = (weights.double() + 1) / 2
    deviation = (beta.log() * share + tilde.log() * (1 - share)).exp().sqrt()
    truth = torch.distributions.Normal(mean_of(noise.double()), tilde.sqrt().expand(noise.shape))
    model = torch.distributions.Normal(mean_of(predicted.double()), deviation)
    expected = torch.distributions.kl_divergence(truth, model).flatten(1).mean(1) / math.log(2)
    assert terms.vb is not None
    torch.testing.assert_close(terms.vb.double(), expected, rtol=2e-3, atol=1e-6)


def test_reconstruction_bins_sum_to_one() -> None:
    """At timestep 0 the bound is -log2 of a bin's probability; those of all 256 bins of [-1, 1] sum to 1."""
    bins = torch.linspace(-1, 1, 256).reshape(256, 1, 1, 1, 1)
    schedule = NoiseSchedule.linear()
    mean = torch.tensor(0.3)

    def centred(x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        # The noise that makes the predicted clean latents, and so the mean at timestep 0, equal to `mean`.
        level = schedule.alphas_cumprod[0]
        noise = (x - level.sqrt() * mean) / (1 - level).sqrt()
        return torch.cat([noise.float(), torch.zeros_like(x)], dim=1)

    zeros = torch.zeros(256, dtype=torch.long)
    terms = diffusion_loss(centred, bins, zeros, torch.zeros_like(bins), UNCONDITIONAL)
    assert terms.vb is not None
    assert torch.exp2(-terms.vb).sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("term", "trained"), [("mse", slice(0, 4)), ("vb", slice(4, 8))])
def test_each_term_trains_its_own_channels(term: str, trained: slice) -> None:
    generator = torch.Generator().manual_seed(2)
    prediction = torch.randn(6, 8, 2, 4, 4, generator=generator).requires_grad_()
    clean, noise = torch.randn(2, *SHAPE, generator=generator)
    terms = diffusion_loss(lambda x, t, c: prediction, clean, TIMESTEPS, noise, UNCONDITIONAL)
    (gradient,) = torch.autograd.grad(getattr(terms, term).sum(), prediction)
    touched = gradient.abs().sum(dim=(0, 2, 3, 4)) > 0
    expected = torch.zeros(8, dtype=torch.bool)
    expected[trained] = True
    assert touched.tolist() == expected.tolist()


def test_x0_trains_towards_the_clean_latents_under_a_cosine() -> None:
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3))

    def check(x: Tensor, seen: Tensor, conditioning: Conditioning) -> Tensor:
        angles = ((torch.stack([seen + 1, torch.full_like(seen, 0)]) / 1000 + 0.008) / 1.008 * math.pi / 2).double()
        level = (angles[0].cos() / angles[1].cos()).square().float().reshape(-1, 1, 1, 1, 1)
        torch.testing.assert_close(x[:5], (level.sqrt() * clean + (1 - level).sqrt() * noise)[:5], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(x[5], noise[5], rtol=0, atol=1e-3)  # nothing is left at the last timestep
        return clean + 2

    terms = diffusion_loss(check, clean, TIMESTEPS, noise, UNCONDITIONAL, objective="x0")
    assert terms.vb is None
    torch.testing.assert_close(terms.total, torch.full((6,), 4.0))
    assert terms.total is terms.mse


def test_flow_trains_towards_the_velocity_of_the_straight_line() -> None:
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3))
    timesteps = torch.tensor([0.0, 1.5, 250, 500, 750, 999.9])

    def check(x: Tensor, seen: Tensor, conditioning: Conditioning) -> Tensor:
        share = (seen / 1000).reshape(-1, 1, 1, 1, 1)
        torch.testing.assert_close(x, clean + share * (noise - clean))
        return noise - clean + 2

    terms = diffusion_loss(check, clean, timesteps, noise, UNCONDITIONAL, objective="flow")
    assert terms.vb is None
    torch.testing.assert_close(terms.total, torch.full((6,), 4.0))
    assert terms.total is terms.mse


@pytest.mark.parametrize(("objective", "channels"), [("ddpm", 8), ("x0", 4), ("flow", 4)])
def test_loss_is_float32_under_autocast_and_passes_everything_on(objective: str, channels: int) -> None:
    network = torch.nn.Conv3d(4, channels, 1)
    conditioning = Conditioning(class_labels=torch.arange(6))
    seen: list[tuple[Tensor, Conditioning]] = []

    def backbone(x: Tensor, timesteps: Tensor, given: Conditioning) -> Tensor:
        seen.append((timesteps, given))
        out: Tensor = network(x)
        assert out.dtype == torch.bfloat16
        return out

    latents = torch.zeros(SHAPE, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = diffusion_loss(backbone, latents, TIMESTEPS, torch.randn(SHAPE), conditioning, objective)
    assert terms.total.dtype == torch.float32
    assert terms.total.shape == (6,)
    assert seen[0][0] is TIMESTEPS
    assert seen[0][1] is conditioning


@pytest.mark.parametrize(("objective", "channels"), [("ddpm", 8), ("flow", 4)])
def test_a_bfloat16_prediction_is_scored_in_float32(objective: str, channels: int) -> None:
    prediction = torch.randn(6, channels, 2, 4, 4, generator=torch.Generator().manual_seed(4)).bfloat16()
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    half, single = (
        diffusion_loss(lambda x, t, c, out=out: out, clean, TIMESTEPS, noise, UNCONDITIONAL, objective)  # type: ignore[misc]
        for out in (prediction, prediction.float())
    )
    assert torch.equal(half.total, single.total)


@pytest.mark.parametrize(
    ("objective", "channels", "wanted"), [("ddpm", 4, "True"), ("x0", 8, "False"), ("flow", 8, "False")]
)
def test_wrong_number_of_channels(objective: str, channels: int, wanted: str) -> None:
    latents = torch.zeros(SHAPE)
    prediction = torch.zeros(6, channels, 2, 4, 4)
    with pytest.raises(StbenchError, match=f"predicted {channels} channels.*learned_variance={wanted}") as caught:
        diffusion_loss(lambda x, t, c: prediction, latents, TIMESTEPS, latents, UNCONDITIONAL, objective)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(6, 8, 1, 4, 4), (1, 8, 2, 4, 4), (6, 8, 2, 4), (8,)], ids=str)
def test_a_prediction_that_would_be_broadcast_is_refused(shape: tuple[int, ...]) -> None:
    latents = torch.zeros(SHAPE)
    with pytest.raises(StbenchError) as caught:
        diffusion_loss(lambda x, t, c: torch.zeros(shape), latents, TIMESTEPS, latents, UNCONDITIONAL)
    assert str(caught.value) == f"the backbone's prediction is {shape}, expected (6, 8, 2, 4, 4)"


@pytest.mark.parametrize(
    ("objective", "timesteps", "message"),
    [
        ("ddpm", [0.1, 0.9], "timesteps of type torch.float32: expected integers of at least 0 and below 1000"),
        ("ddpm", [0, 1000], "timesteps from 0 to 1000: expected integers of at least 0 and below 1000"),
        ("ddpm", [-1, 3], "timesteps from -1 to 3: expected integers of at least 0 and below 1000"),
        ("flow", [0.5, 5000.0], "timesteps from 0.5 to 5000: expected numbers of at least 0 and below 1000"),
        ("flow", [0.5, math.nan], "timesteps from nan to nan: expected numbers of at least 0 and below 1000"),
    ],
)
def test_timesteps_of_the_wrong_kind_or_range_are_refused(objective: str, timesteps: list[Any], message: str) -> None:
    latents = torch.zeros(2, 4, 2, 4, 4)
    with pytest.raises(StbenchError) as caught:
        diffusion_loss(golden_backbone, latents, torch.tensor(timesteps), latents, UNCONDITIONAL, objective)
    assert str(caught.value) == message


def test_unknown_objective() -> None:
    with pytest.raises(StbenchError, match="unknown objective 'dppm': did you mean 'ddpm'"):
        diffusion_loss(golden_backbone, torch.zeros(SHAPE), TIMESTEPS, torch.zeros(SHAPE), UNCONDITIONAL, "dppm")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_timesteps_cover_the_range_evenly_and_repeat_with_the_seed(objective: str) -> None:
    def draw() -> Tensor:
        return sample_timesteps(objective, 20_000, torch.Generator().manual_seed(0), torch.device("cpu"))

    timesteps = draw()
    assert torch.equal(timesteps, draw())
    assert timesteps.is_floating_point() == (objective == "flow") != OBJECTIVES[objective].whole_timesteps
    assert timesteps.min() >= 0
    assert timesteps.max() < 1000
    counts = torch.histc(timesteps.float(), bins=10, min=0, max=1000)
    assert (counts - 2000).abs().max() < 250  # more than five standard deviations of a binomial count


def test_logit_normal_timesteps_have_the_density_of_the_logistic_of_a_normal() -> None:
    """Its quantiles are the logistic function of the normal's: 0.25 at sigmoid(-0.6745)."""
    draws = sample_timesteps("flow", 40_000, torch.Generator().manual_seed(0), torch.device("cpu"), "logit_normal")
    probabilities = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    expected = 1000 * torch.distributions.Normal(0.0, 1.0).icdf(probabilities).sigmoid()
    torch.testing.assert_close(draws.quantile(probabilities), expected, rtol=0.02, atol=5)
    with pytest.raises(StbenchError, match="unknown timestep density of objective ddpm 'logit_normal'"):
        sample_timesteps("ddpm", 2, None, torch.device("cpu"), "logit_normal")


def test_a_shift_moves_timesteps_towards_noise_by_a_constant_in_the_logit() -> None:
    def draw(*how: str | float) -> Tensor:
        return sample_timesteps("flow", 1000, torch.Generator().manual_seed(0), torch.device("cpu"), *how)  # type: ignore[arg-type]

    moved = (draw("logit_normal", 6.0) / 1000).logit() - (draw("logit_normal") / 1000).logit()
    torch.testing.assert_close(moved, torch.full((1000,), math.log(6)), rtol=0, atol=1e-3)
    assert torch.equal(draw("uniform", 1.0), draw("uniform"))


def test_a_shifted_timestep_is_still_below_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 1 - 2**-24]))
    assert sample_timesteps("flow", 2, None, torch.device("cpu"), "uniform", 6.0).tolist() == [0, 1000 - 2**-14]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_timesteps_do_not_depend_on_where_they_are_wanted(objective: str) -> None:
    """They are drawn where the generator is, so that a CPU and a GPU train on the same ones."""
    here, there = (torch.Generator().manual_seed(0) for _ in range(2))
    sample_timesteps(objective, 5, here, torch.device("cpu"))
    elsewhere = sample_timesteps(objective, 5, there, torch.device("meta"))
    assert (elsewhere.device.type, elsewhere.shape) == ("meta", (5,))
    assert torch.equal(here.get_state(), there.get_state())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_clip_of_a_batch_does_not_change_the_loss_of_another(objective: str) -> None:
    channels = 8 if objective == "ddpm" else 4
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(4))
    prediction = torch.randn(6, channels, 2, 4, 4, generator=torch.Generator().manual_seed(5))
    whole = diffusion_loss(lambda x, t, c: prediction, clean, TIMESTEPS, noise, UNCONDITIONAL, objective).total
    for i in range(6):
        alone = diffusion_loss(
            lambda x, t, c, i=i: prediction[i : i + 1],  # type: ignore[misc]
            clean[i : i + 1],
            TIMESTEPS[i : i + 1],
            noise[i : i + 1],
            UNCONDITIONAL,
            objective,
        ).total
        torch.testing.assert_close(alone, whole[i : i + 1])


def test_the_total_is_the_sum_of_the_terms_there_are() -> None:
    mse, vb = torch.tensor([1.0, 2.0]), torch.tensor([0.25, 0.5])
    assert LossTerms(mse, vb).total.tolist() == [1.25, 2.5]
    assert LossTerms(mse, None).total is mse


def test_the_true_noise_has_no_squared_error() -> None:
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(6))
    doubled = torch.cat([noise, torch.zeros_like(noise)], dim=1)
    terms = diffusion_loss(lambda x, t, c: doubled, clean, TIMESTEPS, noise, UNCONDITIONAL)
    assert terms.mse.tolist() == [0.0] * 6
    velocity = noise - clean
    terms = diffusion_loss(lambda x, t, c: velocity, clean, TIMESTEPS, noise, UNCONDITIONAL, "flow")
    assert terms.mse.tolist() == [0.0] * 6
