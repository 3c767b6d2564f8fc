"""Weights are read as plain tensors or refused in one line that names the file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def write(path: Path, content: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in content.items()})  # type: ignore[arg-type]
    else:
        torch.save(content, path)
    return path


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".ckpt"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path: Path, suffix: str) -> None:
    read = read_weights_file(write(tmp_path / f"net{suffix}", TENSORS))
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(read[name], tensor)


def test_a_file_may_hold_mappings_of_tensors(tmp_path: Path) -> None:
    torch.save({"ema": TENSORS, "step": 3}, tmp_path / "net.pt")
    read = read_weights_file(tmp_path / "net.pt")
    assert read["step"] == 3
    assert torch.equal(read["ema"]["weight"], TENSORS["weight"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=rf"^weights file {tmp_path}/net\.pt does not exist$"):
        read_weights_file(tmp_path / "net.pt")


@pytest.mark.parametrize("start", [b"<!DOCTYPE html>", b"\n <html>", b"<?xml version='1.0'?>"])
def test_a_web_page_is_told_from_weights(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "net.pt").write_bytes(start + b"<body>404 not found</body>")
    with pytest.raises(StbenchError, match=r"net\.pt: this is a web page, not weights: the download failed; fetch the"):
        read_weights_file(tmp_path / "net.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"net{suffix}", TENSORS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    message = rf"net\{suffix}: cannot be read as (weights|\.npz) \({path.stat().st_size} bytes; truncated or not plain"
    with pytest.raises(StbenchError, match=message) as caught:
        read_weights_file(path)
    assert "\n" not in str(caught.value)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"weight": Harmful()}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful(), protocol=2))
    np.savez(tmp_path / "arrays.npz", weight=np.array([Harmful()], dtype=object))
    for name in ("zip.pt", "plain.pt", "arrays.npz"):
        with pytest.raises(StbenchError, match=rf"{name}: cannot be read as"):
            read_weights_file(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def test_a_lone_tensor_is_no_mapping(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "net.pt")
    with pytest.raises(StbenchError, match=r"net\.pt: expected a mapping of names to tensors, got Tensor$"):
        read_weights_file(tmp_path / "net.pt")


# ---- checking --------------------------------------------------------------------------------------------------------


def test_only_tensors_pass() -> None:
    assert check_tensors(TENSORS, "net.pt") == TENSORS
    with pytest.raises(StbenchError, match=r"^net\.pt: expected names and tensors, got int under 'step'$"):
        check_tensors({**TENSORS, "step": 3}, "net.pt")


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_weights_are_copied() -> None:
    network = nn.Linear(3, 2)
    load_strictly(network, TENSORS, "net.pt")
    assert torch.equal(network.weight, TENSORS["weight"])
    assert torch.equal(network.bias, TENSORS["bias"])
    with torch.no_grad():
        network.weight.zero_()
    assert TENSORS["weight"].sum() == 15


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"weight": TENSORS["weight"]}, "1 missing (bias)"),
        ({**TENSORS, "scale": torch.ones(1)}, "1 left over (scale)"),
        ({**TENSORS, "bias": torch.zeros(3)}, "1 of another shape (bias (3,) instead of (2,))"),
        (
            {"a": torch.ones(1), "bias": torch.zeros(1)},
            "1 missing (weight); 1 left over (a); 1 of another shape (bias (1,) instead of (2,))",
        ),
        ({**TENSORS, **{f"x{index}": torch.ones(1) for index in range(5)}}, "5 left over (x0, x1, x2)"),
    ],
)
def test_other_weights_are_refused_and_change_nothing(state: dict[str, torch.Tensor], fault: str) -> None:
    network = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(StbenchError) as caught:
        load_strictly(network, state, "net.pt")
    assert str(caught.value) == f"net.pt: weights of another network: {fault}"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_names_with_an_optional_ending_may_be_absent() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    load_strictly(network, state, "net.pt", optional=("num_batches_tracked",))
    with pytest.raises(StbenchError, match=r"1 missing \(1\.num_batches_tracked\)"):
        load_strictly(network, state, "net.pt")
    with pytest.raises(StbenchError, match=r"1 left over"):
        load_strictly(network, {**state, "2.weight": torch.ones(1)}, "net.pt", optional=("num_batches_tracked",))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".zip.pt", ".pkl"])
def test_a_file_with_a_few_bytes_changed_is_read_or_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    else:
        write(path, TENSORS)
    whole, refused = np.frombuffer(path.read_bytes(), np.uint8), 0
    for case in range(80):
        content = whole.copy()
        content[random.integers(len(content), size=1 + case % 4)] = random.integers(0, 256)
        path.write_bytes(content.tobytes()[: None if case % 3 else int(random.integers(len(content)))])
        try:
            read_weights_file(path)
        except StbenchError as error:
            refused += 1
            assert "\n" not in str(error)
            assert path.name in str(error)
    assert refused > 20


def test_a_text_is_no_weights(tmp_path: Path) -> None:
    """Words that torch's unpickler takes for instructions."""
    (tmp_path / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    )
    with pytest.raises(StbenchError, match="passwd: cannot be read as weights"):
        read_weights_file(tmp_path / "passwd")
