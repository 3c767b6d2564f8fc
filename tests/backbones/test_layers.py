"""Position tables, timestep sinusoids, rotary positions and the MLP against their closed forms."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.layers import (
    ClassEmbedding,
    ContextTokens,
    GatedFeedForward,
    Mlp,
    PerFrame,
    RMSNorm,
    Rotary,
    TimestepMlp,
    apply_rotary,
    read_classes_as,
    sincos_table,
    sincos_table_2d,
    spread_over_frames,
    timestep_sinusoid,
)
from stbench.errors import StbenchError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- position tables ----


def test_position_table_element_by_element() -> None:
    table = sincos_table(torch.tensor([0, 1, 7, 2.5]), 6)
    for row, position in zip(table, (0, 1, 7, 2.5), strict=True):
        angles = [position * 10000 ** (-i / 3) for i in range(3)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-7)
    assert table.dtype == torch.float32


def test_products_of_a_position_table_depend_on_the_offset_alone() -> None:
    table = sincos_table(torch.arange(12), 16).double()
    products = table @ table.T
    for offset in range(12):
        diagonal = products.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-6)
    torch.testing.assert_close(products.diagonal(), torch.full((12,), 8.0, dtype=torch.float64))


def test_position_table_is_rounded_once() -> None:
    """At position 1000 float32 angles are wrong in the fifth digit; the table is not, since it uses float64."""
    table = sincos_table(torch.tensor([1000]), 64)
    exact = torch.tensor([math.sin(1000 * 10000 ** (-i / 32)) for i in range(32)], dtype=torch.float64)
    assert torch.equal(table[0, :32], exact.float())


def test_2d_table_encodes_the_column_first_and_the_row_second() -> None:
    side, dim = 3, 8
    table, line = sincos_table_2d(side, dim), sincos_table(torch.arange(side), dim // 2)
    assert table.shape == (side * side, dim)
    for row in range(side):
        for column in range(side):
            assert torch.equal(table[row * side + column], torch.cat([line[column], line[row]]))


def test_2d_table_of_a_mirrored_grid_swaps_its_halves() -> None:
    grid = sincos_table_2d(4, 12).unflatten(0, (4, 4))
    assert torch.equal(grid.transpose(0, 1), torch.cat([grid[..., 6:], grid[..., :6]], dim=-1))


# ---- timestep sinusoids ----


@pytest.mark.parametrize("cos_first", [True, False])
@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("timestep", [0, 1, 37, 999, 12.25])
def test_timestep_sinusoid_element_by_element(timestep: float, cos_first: bool, inclusive: bool) -> None:
    sinusoid = timestep_sinusoid(torch.tensor([timestep]), 8, cos_first=cos_first, inclusive=inclusive)
    angles = [timestep * 10000 ** (-i / (3 if inclusive else 4)) for i in range(4)]
    halves = [list(map(math.cos, angles)), list(map(math.sin, angles))]
    first, last = halves if cos_first else halves[::-1]
    torch.testing.assert_close(sinusoid, torch.tensor([first + last]), rtol=0, atol=2e-4)
    assert sinusoid.dtype == torch.float32


def test_the_order_of_the_halves_is_all_that_cos_first_changes() -> None:
    timesteps = torch.tensor([3, 700])
    for inclusive in (True, False):
        cos, sin = timestep_sinusoid(timesteps, 32, cos_first=True, inclusive=inclusive).chunk(2, dim=1)
        other = timestep_sinusoid(timesteps, 32, cos_first=False, inclusive=inclusive)
        assert torch.equal(other, torch.cat([sin, cos], dim=1))
        torch.testing.assert_close(cos**2 + sin**2, torch.ones(2, 16))


@pytest.mark.parametrize(("inclusive", "last"), [(True, 1e-4), (False, 10000 ** (-15 / 16))])
def test_range_of_the_frequencies(inclusive: bool, last: float) -> None:
    """Near 0 the sine is its angle: frequencies fall from 1 to 1/10000, or to one step before it."""
    sin = timestep_sinusoid(torch.tensor([1e-3]), 32, cos_first=False, inclusive=inclusive)[0, :16] / 1e-3
    assert sin[0].item() == pytest.approx(1, rel=1e-5)
    assert sin[-1].item() == pytest.approx(last, rel=1e-5)
    ratios = sin[1:] / sin[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand(15), rtol=1e-5, atol=0)


def test_timestep_mlp_is_two_linear_layers_on_the_sinusoid() -> None:
    torch.manual_seed(0)
    embed, timesteps = TimestepMlp(12), torch.tensor([0, 5.5, 999])
    first, _, last = embed.mlp
    angles = timesteps[:, None] * 10000 ** (-torch.arange(128) / 128)
    hidden = torch.cat([angles.cos(), angles.sin()], dim=1) @ first.weight.T + first.bias
    expected = (hidden * hidden.sigmoid()) @ last.weight.T + last.bias
    torch.testing.assert_close(embed(timesteps), expected, rtol=1e-4, atol=1e-5)
    assert embed(timesteps).shape == (3, 12)


# ---- rotary positions ----


def test_rotary_is_a_product_of_complex_numbers() -> None:
    x, positions = normal(2, 3, 5, 8), torch.tensor([0, 1, 2, 5, 11])
    phases = torch.polar(torch.ones(5, 4), positions[:, None] * 10000 ** (-torch.arange(4) / 4))
    expected = torch.complex(x[..., :4], x[..., 4:]) * phases
    torch.testing.assert_close(apply_rotary(x, positions), torch.cat([expected.real, expected.imag], dim=-1))


def test_rotary_products_depend_on_the_offset_alone() -> None:
    q, k = normal(1, 6).expand(9, 6), normal(1, 6, seed=1).expand(9, 6)
    products = apply_rotary(q, torch.arange(9)) @ apply_rotary(k, torch.arange(9)).T
    for offset in range(-8, 9):
        diagonal = products.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)
    assert products.std() > 0.1


def test_rotary_keeps_lengths_and_leaves_position_0() -> None:
    x = normal(2, 7, 10)
    rotated = apply_rotary(x, torch.arange(7))
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rotated[:, 0], x[:, 0])
    assert (rotated[:, 1:] - x[:, 1:]).abs().amax(dim=(0, 2)).min() > 0.1
    torch.testing.assert_close(apply_rotary(rotated, -torch.arange(7)), x)  # and back


def test_rotary_keeps_the_precision_of_its_input() -> None:
    x = normal(3, 4).bfloat16()
    rotated = apply_rotary(x, torch.arange(3))
    assert rotated.dtype == torch.bfloat16
    torch.testing.assert_close(rotated.float(), apply_rotary(x.float(), torch.arange(3)), rtol=0, atol=0.05)


def test_rotary_module_turns_adjacent_pairs_and_leaves_the_rest() -> None:
    x = normal(3, 6)
    rotated = Rotary(4)(x)
    for position in range(3):
        for pair, frequency in enumerate((1, 10000**-0.5)):
            turn = complex(math.cos(position * frequency), math.sin(position * frequency))
            expected = complex(*x[position, 2 * pair : 2 * pair + 2].tolist()) * turn
            assert complex(*rotated[position, 2 * pair : 2 * pair + 2].tolist()) == pytest.approx(expected, abs=1e-6)
    assert torch.equal(rotated[:, 4:], x[:, 4:])
    assert Rotary(4)(x.bfloat16()).dtype == torch.bfloat16


# ---- classes ----


def test_classes_and_the_null_class_have_a_vector_each() -> None:
    embedding, labels = ClassEmbedding(5, 8), torch.tensor([[0, 5], [2, 3]])
    assert embedding.weight.shape == (6, 8)
    assert torch.equal(embedding(labels), embedding.weight[labels])


@pytest.mark.parametrize("labels", [[0, 6], [-1, 6]])
def test_a_label_that_is_no_class_is_named(labels: list[int]) -> None:
    with pytest.raises(StbenchError) as caught:
        ClassEmbedding(5, 8)(torch.tensor(labels))
    assert str(caught.value) == f"class labels from {labels[0]} to 6: expected 0 to 5, the null class"


def test_the_class_embedding_compiles_whole() -> None:
    embedding, labels = ClassEmbedding(5, 8), torch.tensor([0, 5])
    compiled = torch.compile(embedding, backend="eager", fullgraph=True)
    assert torch.equal(compiled(labels), embedding(labels))


# ---- context ----

CLIPS = torch.zeros(2, 4, 3, 8, 8)


def test_a_context_is_read_as_it_is() -> None:
    context = normal(2, 7, 6)
    for num_classes in (0, 5):
        told = Conditioning(context=context, class_labels=torch.tensor([0, 1]))
        assert ContextTokens(6, num_classes)(told, CLIPS) is context


def test_the_class_is_one_token_and_the_null_class_the_last() -> None:
    tokens = ContextTokens(6, 5)
    assert {name: tuple(each.shape) for name, each in tokens.named_parameters()} == {"class_embed.weight": (6, 6)}
    assert tokens.class_embed is not None
    assert torch.equal(
        tokens(Conditioning(class_labels=torch.tensor([2, 5])), CLIPS), tokens.class_embed.weight[[2, 5], None]
    )


def test_without_context_and_classes_there_is_a_token_of_zeros_and_nothing_to_learn() -> None:
    tokens = ContextTokens(6, 0)
    assert not list(tokens.parameters())
    assert torch.equal(tokens(Conditioning(), CLIPS.double()), torch.zeros(2, 1, 6, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(2, 7, 5), (3, 7, 6), (2, 6), (2, 1, 7, 6)])
def test_a_context_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StbenchError) as caught:
        ContextTokens(6, 5)(Conditioning(context=torch.zeros(shape)), CLIPS)
    assert str(caught.value) == f"conditioning.context: expected (B, L, D) = (2, L, 6), got {shape}"


def test_classes_may_be_tokens_that_are_known() -> None:
    tokens, known = ContextTokens(6, 5), normal(6, 7, 6)
    read_classes_as(nn.Sequential(nn.Linear(2, 2), tokens), known)
    assert torch.equal(tokens(Conditioning(class_labels=torch.tensor([2, 5])), CLIPS), known[[2, 5]])
    assert not list(tokens.parameters())
    assert not tokens.state_dict()


@pytest.mark.parametrize("shape", [(5, 7, 6), (6, 7, 5)])
def test_known_tokens_of_other_classes_or_another_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StbenchError, match=r"expected \(classes \+ 1, L, D\) = \(6, L, 6\), got "):
        read_classes_as(ContextTokens(6, 5), torch.zeros(shape))


def test_a_network_that_reads_no_context_says_so() -> None:
    with pytest.raises(StbenchError, match=r"^Linear reads no context: set context\.name=class$"):
        read_classes_as(nn.Linear(2, 2), torch.zeros(6, 7, 6))


def test_a_class_that_is_not_told_is_missed() -> None:
    with pytest.raises(StbenchError, match=r"expected a context \(B, L, D\), or class_labels \(B,\)"):
        ContextTokens(6, 5)(Conditioning(), CLIPS)


# ---- the MLP ----


def test_mlp_by_its_formula() -> None:
    """The tanh approximation of GELU (arXiv 1606.08415, section 2) between two linear layers."""
    torch.manual_seed(0)
    mlp, x = Mlp(6, 20), normal(3, 6)
    hidden = x @ mlp[0].weight.T + mlp[0].bias
    gelu = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    torch.testing.assert_close(mlp(x), gelu @ mlp[2].weight.T + mlp[2].bias, rtol=1e-5, atol=1e-6)
    assert mlp.hidden_width == 20
    assert list(mlp.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_gated_feed_forward_by_its_formula() -> None:
    torch.manual_seed(0)
    layer, x = GatedFeedForward(6), normal(3, 6)
    hidden, gate = (x @ layer.enter.weight.T + layer.enter.bias).split(24, dim=-1)
    gated = hidden * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    torch.testing.assert_close(layer(x), gated @ layer.leave.weight.T + layer.leave.bias, rtol=1e-5, atol=1e-6)


# ---- frames ----


def test_rows_over_frames_and_images() -> None:
    rows = torch.tensor([[1, 10, 20], [2, 30, 40]])[..., None]  # (B, 1 + K, 1)
    spread = spread_over_frames(rows, 3, 2)
    assert spread[..., 0].tolist() == [[1, 1, 1, 10, 20], [2, 2, 2, 30, 40]]
    clip = rows[:, :1]
    assert spread_over_frames(clip, 3, 0) is clip  # which broadcasts


def test_per_frame_applies_an_image_module_to_every_frame() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, kernel_size=3, stride=2, padding=1)
    layer, x = PerFrame(conv), normal(2, 5, 6, 4, 3)
    out = layer(x)
    assert out.shape == (2, 5, 3, 2, 4)
    for frame in range(5):
        image = conv(x[:, frame].permute(0, 3, 1, 2))
        torch.testing.assert_close(out[:, frame], image.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


# ---- norms ----


@pytest.mark.parametrize("rms", [1.0, 1e-2, 1e-3, 1e-4, 1e-8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_is_that_of_the_re_implementation_at_every_scale(dtype: torch.dtype, rms: float) -> None:
    """Which divides by the norm, limited to 1e-12: gradients too, as far as a precision goes."""
    norm, x = RMSNorm(6), (rms * normal(2, 3, 6)).to(dtype).requires_grad_()
    nn.init.normal_(norm.weight, std=0.3)
    expected = F.normalize(x.double(), dim=-1, eps=1e-12) * 6**0.5 * norm.weight.double()
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    out = norm(x)
    out.sum().backward()
    assert out.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(x.grad, gradient, rtol=2 * tolerance, atol=2 * tolerance / rms)


def test_rms_norm_of_nothing_is_nothing() -> None:
    x = torch.zeros(1, 6, requires_grad=True)
    out = RMSNorm(6)(x)
    out.sum().backward()
    assert not out.any()
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_rms_norm_is_the_same() -> None:
    norm, x = RMSNorm(6), 1e-4 * normal(2, 3, 6)
    torch.testing.assert_close(torch.compile(norm)(x), norm(x))
