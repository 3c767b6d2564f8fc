"""CLIP's encoders with random weights: tokens as transformers computes them, names in words, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.data.context import (
    PIXEL_MEAN,
    PIXEL_STD,
    ClipImage,
    ClipText,
    FrameContext,
    caption_of,
    class_tokens,
    context_encoder,
)
from stbench.data.embeddings import DIM, FrameEmbedding, NameEmbedding
from stbench.errors import StbenchError
from stbench.records.store import read_record
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.resolve import resolve
from stbench.settings.schema import ContextConfig

transformers = pytest.importorskip("transformers", reason="pip install 'stbench[clip]'")

RUN = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "variant=wan", "context.name=clip-text"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 32 channels that reads letters, tiny and random."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    start, end = len(words) - 2, len(words) - 1
    ids = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    text = {**sizes, **ids, "vocab_size": len(words), "max_position_embeddings": 12}
    config = transformers.CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8})
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def test_texts_become_the_tokens_of_the_last_layer(clip: Path) -> None:
    encoder = ClipText(str(clip))
    tokens = encoder(["ab", ""])
    start, end = 52, 53
    ids = torch.tensor([[start, 0, 27, *[end] * 9], [start, *[end] * 11]])
    expected = transformers.CLIPModel.from_pretrained(clip).text_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-6)
    assert tokens.shape == (2, 12, encoder.width)
    assert not tokens.requires_grad


def test_a_long_text_is_cut(clip: Path) -> None:
    assert ClipText(str(clip))(["word " * 20]).shape == (1, 12, 32)


def test_frames_become_the_tokens_of_their_patches(clip: Path) -> None:
    frames = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = (torch.tensor(each)[:, None, None] for each in (PIXEL_MEAN, PIXEL_STD))
    model = transformers.CLIPModel.from_pretrained(clip).vision_model
    expected = model(((frames + 1) / 2 - mean) / std).last_hidden_state
    tokens = ClipImage(str(clip))(frames)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-5)
    assert tokens.shape == (3, 1 + 4, 32)
    assert ClipImage(str(clip))(frames[:, :, :, :9]).shape == (3, 5, 32)  # made squares


def test_the_context_of_a_clip_is_its_last_frame_s(clip: Path) -> None:
    clips = torch.rand(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    by_clip, by_stand_in = (context_encoder(name, str(clip)) for name in ("clip-image", "toy-image"))
    assert isinstance(by_clip, FrameContext)
    assert isinstance(by_stand_in, FrameContext)
    assert (by_clip.shape, by_stand_in.shape) == ((5, 32), (1, DIM))
    assert torch.equal(by_clip(clips), ClipImage(str(clip))(clips[:, :, -1]))
    assert torch.equal(by_stand_in(clips)[:, 0], FrameEmbedding()(clips[:, :, -1]))
    assert by_clip.weights_sha256 == ClipText(str(clip)).weights_sha256


def test_every_context_that_the_setting_names(clip: Path) -> None:
    (choices,) = (each.metadata["choices"] for each in dataclasses.fields(ContextConfig) if each.name == "name")
    kinds = {name: type(context_encoder(name, str(clip))) for name in choices}
    assert kinds == {
        "class": type(None),
        "clip-text": ClipText,
        "toy-text": NameEmbedding,
        "clip-image": FrameContext,
        "toy-image": FrameContext,
    }


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("apply_eye_makeup", "apply eye makeup"),
        ("Sky", "sky"),
        ("YoYo 2x", "yo yo 2x"),
    ],
)
def test_names_in_words(name: str, caption: str) -> None:
    assert caption_of(name) == caption


def test_the_null_class_is_an_empty_text(clip: Path) -> None:
    encoder = ClipText(str(clip))
    tokens = class_tokens(encoder, ("Left", "right"))
    assert torch.equal(tokens, encoder(["left", "right", ""]))
    assert not torch.equal(tokens[0], tokens[1])


def test_where_the_weights_are_looked_for(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STBENCH_CLIP", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        StbenchError, match=r"not found in .*; name the folder by context\.weights=\.\.\. or STBENCH_CLIP"
    ):
        ClipText()
    monkeypatch.setenv("STBENCH_CLIP", str(clip))
    assert ClipText().weights_sha256 == ClipImage(str(clip)).weights_sha256


def test_a_folder_that_holds_something_else(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((clip / "config.json").read_text())
    with pytest.raises(StbenchError, match=f"^cannot load CLIP from {tmp_path}: "):
        ClipText(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((clip / "model.safetensors").read_bytes())
    with pytest.raises(StbenchError, match=r"vocab\.json is missing, without which CLIP cannot read"):
        ClipText(str(tmp_path))


def test_without_transformers(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(StbenchError, match=r"needs transformers: pip install 'stbench\[clip\]'$"):
        ClipText(str(clip))


# ---- in a run ----


def given(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
    monkeypatch.setenv("STBENCH_CLIP", str(clip))


def test_a_run_reads_the_names_of_its_classes(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, clip)
    setup = prepare(resolve(RUN))
    tokens: Any = setup.class_tokens
    assert isinstance(tokens, Tensor)
    assert torch.equal(tokens, class_tokens(ClipText(), ("right", "left", "up", "down")))
    assert setup.config.contents is not None
    assert setup.config.contents.context == ClipText().weights_sha256
    assert not any("context" in name for name, _ in setup.build_backbone().named_parameters())
    assert read_record(run(resolve(RUN), tmp_path)).finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "latte1"}, r"Latte reads no context: set context\.name=class"),
        ({"dataset": "clouds"}, r"context\.name=clip-text needs the names of classes, and dataset 'clouds' has none"),
        ({"preset": "small"}, r"expected \(classes \+ 1, L, D\) = \(9, L, 4096\), got \(9, 12, 32\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    changes: dict[str, str], message: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, clip)
    words = dict(word.split("=") for word in RUN) | changes
    with pytest.raises(StbenchError, match=message):
        prepare(resolve(words))
