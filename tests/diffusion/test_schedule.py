"""The noise schedule against the closed forms of DDPM and the published spacing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stbench.diffusion.schedule import NoiseSchedule, respaced_steps
from stbench.errors import StbenchError


def test_betas_are_linear_and_end_where_ddpm_ends() -> None:
    schedule = NoiseSchedule.linear()
    assert schedule.betas.dtype == torch.float64
    assert schedule.betas[0].item() == 1e-4
    assert schedule.betas[-1].item() == pytest.approx(0.02)
    assert schedule.betas.diff().std() < 1e-15


def test_alphas_cumprod_against_numpy() -> None:
    expected = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(NoiseSchedule.linear().alphas_cumprod.numpy(), expected, rtol=1e-12)
    assert expected[-1] == pytest.approx(4.0358e-5, rel=1e-4)


def test_the_cosine_against_numpy_and_its_ends() -> None:
    schedule = NoiseSchedule.cosine()
    levels = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(schedule.alphas_cumprod[:-1].numpy(), levels[1:-1], rtol=1e-9)
    assert schedule.alphas_cumprod[0].item() == pytest.approx(0.999959, abs=5e-7)
    assert schedule.alphas_cumprod[-1].item() == pytest.approx(2.43e-9, rel=2e-3)
    assert schedule.betas[-1] == 0.999  # where the formula has 1, and nothing would be left


def test_posterior_variance_is_bayes_rule() -> None:
    """1 / variance of q(x_{t-1} | x_t, x_0) = alpha_t / beta_t + 1 / (1 - alpha_bar_{t-1}) for t > 0."""
    schedule = NoiseSchedule.linear()
    precision = (1 - schedule.betas[1:]) / schedule.betas[1:] + 1 / (1 - schedule.alphas_cumprod[:-1])
    torch.testing.assert_close(schedule.posterior_variance[1:], 1 / precision, rtol=1e-9, atol=0)
    assert schedule.posterior_variance[0] == 0
    assert schedule.posterior_log_variance[0] == schedule.posterior_log_variance[1]


def test_posterior_mean_is_the_product_of_two_gaussians() -> None:
    schedule = NoiseSchedule.linear()
    generator = torch.Generator().manual_seed(0)
    clean, noisy = torch.randn(2, 3, 1, 2, 2, 2, generator=generator, dtype=torch.float64)
    steps = torch.tensor([1, 400, 999])
    beta, previous = schedule.betas[steps], schedule.alphas_cumprod[steps - 1]
    variance = schedule.posterior_variance[steps]
    weights = (variance * (1 - beta).sqrt() / beta, variance * previous.sqrt() / (1 - previous))
    of_noisy, of_clean = (weight.reshape(3, 1, 1, 1, 1) for weight in weights)
    expected = of_noisy * noisy + of_clean * clean
    torch.testing.assert_close(schedule.posterior_mean(clean, noisy, steps), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [torch.tensor([0, 500, 990]), 500])
def test_noise_and_clean_latents_are_solutions_of_each_other(steps: torch.Tensor | int) -> None:
    schedule = NoiseSchedule.linear()
    clean, noise = torch.randn(2, 3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    noisy = schedule.add_noise(clean, noise, steps)
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(schedule.clean_from_noise(noisy, noise, steps), clean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(schedule.noise_from_clean(noisy, clean, steps), noise, atol=1e-4, rtol=1e-4)


def test_learned_variance_runs_from_beta_tilde_to_beta() -> None:
    schedule = NoiseSchedule.linear()
    steps = torch.tensor([10, 900])
    ends = [schedule.interpolated_log_variance(torch.full((2, 1, 1, 1, 1), w), steps).flatten() for w in (-1.0, 1.0)]
    torch.testing.assert_close(ends[0], schedule.posterior_variance[steps].log().float())
    torch.testing.assert_close(ends[1], schedule.betas[steps].log().float())


@pytest.mark.parametrize("count", [2, 4, 8, 16, 20, 25, 32, 50, 64, 100, 125, 128, 200, 250, 256, 500, 512, 1000])
def test_common_counts_are_spaced_as_linspace(count: int) -> None:
    assert respaced_steps(str(count)) == np.linspace(0, 999, count).round().astype(int).tolist()


@pytest.mark.parametrize("count", [21, 23, 31, 35])
def test_rounding_is_accumulated_as_in_the_published_code(count: int) -> None:
    """These counts tell accumulated rounding from linspace: one timestep or more is a neighbour."""
    published, linspace = np.array(respaced_steps(str(count))), np.linspace(0, 999, count).round().astype(int)
    assert (published != linspace).any()
    assert np.abs(published - linspace).max() == 1


def test_how_many_counts_differ_from_linspace() -> None:
    differing = [n for n in range(2, 1001) if respaced_steps(str(n)) != np.linspace(0, 999, n).round().tolist()]
    assert len(differing) == 278


@pytest.mark.parametrize("count", [2, 10, 50, 100, 250, 334, 500, 1000])
def test_ddim_spacing_has_a_constant_stride(count: int) -> None:
    steps = np.array(respaced_steps(f"ddim{count}"))
    assert len(steps) == count
    assert steps[0] == 0
    assert len(set(np.diff(steps))) == 1


@pytest.mark.parametrize("spec", ["50", "ddim50", "21"])
def test_respaced_schedule_keeps_alpha_bar_at_the_kept_steps(spec: str) -> None:
    full = NoiseSchedule.linear()
    short = full.respaced(spec)
    assert short.timestep_map.tolist() == respaced_steps(spec)
    torch.testing.assert_close(short.alphas_cumprod, full.alphas_cumprod[short.timestep_map], rtol=1e-10, atol=0)


def test_respacing_to_all_steps_changes_nothing() -> None:
    full = NoiseSchedule.linear()
    torch.testing.assert_close(full.respaced("1000").betas, full.betas, rtol=1e-9, atol=0)


@pytest.mark.parametrize("spec", ["1", "0", "1001", "ddim1", "ddim", "", "-5", "2.5", "10,20", "dim50"])
def test_specs_that_mean_nothing(spec: str) -> None:
    with pytest.raises(StbenchError, match="expected 'N' or 'ddimN' with N from 2 to 1000"):
        respaced_steps(spec)


def test_a_count_without_integer_stride_names_the_nearest() -> None:
    with pytest.raises(StbenchError, match=r"'ddim300'.*nearest: 'ddim250' or 'ddim334'"):
        respaced_steps("ddim300")


def test_noise_added_step_by_step_is_the_noise_added_at_once() -> None:
    """q(x_t | x_{t-1}) (DDPM, equation 2), applied t times: the mean and the variance of equation 4."""
    schedule, steps = NoiseSchedule.linear(), 600
    mean, variance = 1.0, 0.0
    for beta in schedule.betas[: steps + 1].tolist():
        mean, variance = mean * (1 - beta) ** 0.5, variance * (1 - beta) + beta
    one, nothing = torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1)
    assert schedule.add_noise(one, nothing, steps).item() == pytest.approx(mean, rel=1e-5)
    assert schedule.add_noise(nothing, one, steps).item() ** 2 == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("spec", ["2", "50", "ddim50"])
def test_betas_of_a_respaced_schedule_are_those_of_the_steps_between(spec: str) -> None:
    """From one kept step to the next the signal loses what it loses in all steps between (section 4)."""
    full = NoiseSchedule.linear()
    short, kept = full.respaced(spec), respaced_steps(spec)
    assert short.num_steps == len(kept)
    for index in range(1, len(kept)):
        between = 1 - full.betas[kept[index - 1] + 1 : kept[index] + 1]
        assert short.betas[index].item() == pytest.approx(1 - between.prod().item(), rel=1e-9)


@pytest.mark.parametrize(
    "method", ["add_noise", "clean_from_noise", "noise_from_clean", "posterior_mean", "interpolated_log_variance"]
)
def test_one_step_for_all_is_the_same_as_that_step_for_each(method: str) -> None:
    schedule = NoiseSchedule.linear()
    clips = torch.randn(2, 3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    arguments = clips[:1] if method == "interpolated_log_variance" else clips
    together, each = (getattr(schedule, method)(*arguments, steps) for steps in (7, torch.full((3,), 7)))
    assert together.shape == clips[0].shape
    assert together.dtype == torch.float32  # the tables are float64, latents are not
    assert torch.equal(together, each)


def test_the_same_schedule_elsewhere() -> None:
    moved = NoiseSchedule.linear().respaced("4").to(torch.device("meta"))
    assert (moved.betas.device.type, moved.timestep_map.device.type) == ("meta", "meta")
    assert (moved.num_steps, moved.alphas_cumprod.shape, moved.posterior_log_variance.shape) == (4, (4,), (4,))
