"""The diffusion prior: the public code's figures, what sees what, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.prior.network import DiffusionPrior
from stbench.backbones.prior.published import PriorLayout
from stbench.errors import StbenchError

TINY: dict[str, Any] = {"depth": 2, "num_heads": 2, "head_dim": 4, "max_text_len": 3, "in_channels": 8}
TIMESTEPS = torch.tensor([3, 700])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(**options: Any) -> DiffusionPrior:
    torch.manual_seed(0)
    return DiffusionPrior(**{**TINY, **options}).eval()


def text(*shape: int) -> Conditioning:
    return Conditioning(context=normal(*shape, seed=1))


def count_parameters(network: nn.Module) -> int:
    """As the authors count: with their frozen table of rotary frequencies, once."""
    return sum(tensor.numel() for tensor in [*network.parameters(), *network.buffers()])


NOISY = normal(2, 8, 1, 1, 1)


# ---- against the public code ----


def test_golden_network(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    network = build(num_heads=4, head_dim=8, max_text_len=5, num_timesteps=10, in_channels=32)
    names = PriorLayout().names(network)
    formula_fill(network, names.__getitem__, frozen=[names["blocks.0.attention.rotary.frequencies"]])
    assert count_parameters(network) == golden["prior"]["params"]
    assert len(network.state_dict()) == golden["prior"]["tensors"]  # the rotary frequencies once a block
    context = torch.cat([formula_input((2, 3, 32), 1.0), formula_input((2, 1, 32), 0.5)], dim=1)
    noisy = formula_input((2, 32, 1, 1, 1))
    made = network(noisy, torch.tensor([3, 7]), Conditioning(context=context))
    assert_golden(made.flatten(1), golden["prior"])


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 101_756_560),
        (
            {"in_channels": 512, "depth": 6, "num_heads": 8, "max_text_len": 256, "normformer": False}
            | {"num_timesteps": 0},
            24_918_544,
        ),
    ],
    ids=["train_prior_config.example", "readme"],
)
def test_parameters_of_the_public_network(arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(DiffusionPrior(**arguments)) == parameters


def test_operations_of_the_public_network() -> None:
    """81 tokens through 14 D^2 + 2 D E of each block, their attention to 82 keys, and the last one through D^2."""
    with torch.device("meta"):
        network = DiffusionPrior().eval()
        told = Conditioning(context=torch.empty(1, *network.context_shape))
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 768, 1, 1, 1), torch.empty(1, dtype=torch.long), told)
    block = 81 * (14 * 768**2 + 2 * 768 * 64) + 2 * 81 * 82 * 12 * 64
    assert counter.get_total_flops() == 2 * (12 * block + 768**2)


# ---- what sees what ----


def test_no_token_sees_those_behind_it() -> None:
    network, tokens = build(), normal(2, 7, 8)
    other = tokens.clone()
    other[:, 4:] = normal(2, 3, 8, seed=1)
    first, second = network.transform(tokens), network.transform(other)
    assert torch.equal(first[:, :4], second[:, :4])
    assert (first[:, 4:] != second[:, 4:]).any(dim=-1).all()


@pytest.mark.parametrize("token", range(4))
def test_every_token_of_the_text_counts(token: int) -> None:
    network, context = build(), normal(2, 4, 8, seed=1)
    other = context.clone()
    other[:, token] = normal(2, 8, seed=2)
    made = [network(NOISY, TIMESTEPS, Conditioning(context=each)) for each in (context, other)]
    assert (made[0] != made[1]).flatten(1).any(dim=1).all()


def test_tokens_that_are_missing_or_zeros_are_learned_by_their_place() -> None:
    network, context = build(), normal(2, 4, 8, seed=1)
    context[:, 1:3] = 0
    filled = context.clone()
    filled[:, 1:3] = network.null_encodings[:, 1:3]
    short = Conditioning(context=context[:, [0, 3]])
    made = network(NOISY, TIMESTEPS, short)
    assert torch.equal(network(NOISY, TIMESTEPS, Conditioning(context=context)), made)
    assert torch.equal(network(NOISY, TIMESTEPS, Conditioning(context=filled)), made)
    assert not torch.equal(network(NOISY, TIMESTEPS, Conditioning(context=context[:, 3:])), made)


@pytest.mark.parametrize("num_classes", [0, 5])
def test_no_text_and_the_null_class_are_a_context_of_zeros(num_classes: int) -> None:
    network = build(num_classes=num_classes)
    nothing = Conditioning(class_labels=torch.tensor([5, 5])) if num_classes else UNCONDITIONAL
    made = network(NOISY, TIMESTEPS, nothing)
    assert torch.equal(network(NOISY, TIMESTEPS, Conditioning(context=torch.zeros(2, 4, 8))), made)
    learned = torch.cat([network.null_encodings, network.null_text], dim=1).expand(2, -1, -1)
    assert torch.equal(network(NOISY, TIMESTEPS, Conditioning(context=learned)), made)


def test_without_a_text_the_noisy_embedding_is_left_out_where_training_leaves_it_out() -> None:
    zeros, other = Conditioning(context=torch.zeros(2, 1, 8)), normal(2, 8, 1, 1, 1, seed=2)
    for share, left_out in ((0.0, False), (0.1, True)):
        network = build(image_dropout=share)
        assert torch.equal(network(NOISY, TIMESTEPS, zeros), network(other, TIMESTEPS, zeros)) == left_out
        told = text(2, 1, 8)
        assert not torch.equal(network(NOISY, TIMESTEPS, told), network(other, TIMESTEPS, told))


def test_the_share_of_training_without_the_noisy_embedding() -> None:
    network, noisy, told = build(image_dropout=0.25).train(), normal(400, 8, 1, 1, 1), text(400, 1, 8)
    timesteps = torch.zeros(400, dtype=torch.long)
    torch.manual_seed(0)
    first = network(noisy, timesteps, told)
    torch.manual_seed(0)
    second = network(-noisy, timesteps, told)
    assert (first == second).flatten(1).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.06)


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("latents", "timesteps", "told", "message"),
    [
        ((2, 8, 4, 1, 1), TIMESTEPS, UNCONDITIONAL, r"expects latents \(B, D, 1, 1, 1\) = \(2, 8, 1, 1, 1\)"),
        (
            (2, 8, 1, 1, 1),
            TIMESTEPS,
            text(2, 5, 8),
            "max_text_len=3 tokens before it: got a context of 5",
        ),
        ((2, 8, 1, 1, 1), TIMESTEPS, text(2, 0, 8), "got a context of 0 tokens, expected 1 to 4"),
        ((2, 8, 1, 1, 1), TIMESTEPS, text(2, 4, 6), r"expected \(B, L, D\) = \(2, L, 8\), got \(2, 4, 6\)"),
        ((2, 8, 1, 1, 1), TIMESTEPS.float(), UNCONDITIONAL, r"variant\.num_timesteps=0 takes any"),
        ((2, 8, 1, 1, 1), TIMESTEPS, Conditioning(num_images=1), r"set train\.joint_images=0"),
    ],
)
def test_wrong_input_is_refused_in_words(
    latents: tuple[int, ...], timesteps: Tensor, told: Conditioning, message: str
) -> None:
    with pytest.raises(StbenchError, match=message):
        build()(normal(*latents), timesteps, told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 16, "sample_size": 32}, "one embedding a clip.*got latents of 16 frames of 32x32"),
        ({"head_dim": 5}, "head_dim=5 must be even"),
        ({"num_timesteps": 0, "in_channels": 7}, "num_timesteps=0 makes sinusoids of D=7 channels"),
        ({"image_dropout": 2.0}, "image_dropout=2.0: expected a share from 0 to 1"),
    ],
)
def test_figures_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        build(**options)
