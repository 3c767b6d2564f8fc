"""`stbench fvd` from folders, files of clips and kept features: the figures, what is left out, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stbench.data.clips import clip_start
from stbench.data.loading import clips_to_tensor
from stbench.data.synthetic.shapes import Shapes
from stbench.errors import NotComparable, StbenchError
from stbench.fvd import measure as fvd
from stbench.fvd.measure import Outcome, ShuffledControl, measure
from stbench.fvd.sides import load_features
from stbench.fvd.words import protocol_from_words
from stbench.metrics.detectors import build_detector
from stbench.metrics.frechet import frechet_distance
from stbench.settings.options import FvdOptions
from stbench.storage.hashing import hash_uint64

NUM = 70  # more than the 64 features of the built-in detector
PROTOCOL = protocol_from_words([f"protocol.num_real={NUM}", f"protocol.num_fake={NUM}"])
CPU = FvdOptions(device="cpu")
FEW = replace(PROTOCOL, num_real=6, num_fake=6)


def moving_shapes(count: int, num_frames: int, seed: int) -> NDArray[np.uint8]:
    return Shapes(32, num_frames, 1, seed=seed).batch(range(count), [0] * count)[0]


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix == ".mp4" else "mpeg4", rate=8)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_frames(folder: Path, frames: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame_{index}.png")


def write_clips(path: Path, clips: NDArray[np.uint8]) -> Path:
    np.savez(path, clips=clips)
    return path


def write_broken(root: Path, frames: NDArray[np.uint8]) -> dict[str, str]:
    """Put everything that can be wrong with a video below `root`; returns how each reason begins."""
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("this is no video\n" * 50)
    (root / "page.webm").write_text("<html>404 not found</html>" * 20)
    write_video(root / "short.avi", frames[:15])
    for name in ("cut.mp4", "cut.avi"):
        write_video(root / name, np.concatenate([frames] * 4))
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) * 3 // 4])
    for name in ("gap", "no_image", "sizes"):
        write_frames(root / name, frames)
    (root / "gap" / "frame_3.png").unlink()
    for index in range(0, 20, 2):
        (root / "no_image" / f"frame_{index}.png").write_bytes(b"not a picture")
        Image.new("RGB", (40, 32)).save(root / "sizes" / f"frame_{index}.png")
    return {
        "empty.mp4": "empty",
        "text.mp4": "unreadable",
        "page.webm": "unreadable",
        "short.avi": "shorter than a clip, 16 frames",
        "cut.mp4": "unreadable",
        "cut.avi": "truncated (declares 80 frames",
        "gap": "a frame is missing (between frame_2.png and frame_4.png)",
        "no_image": "unreadable image (frame_",
        "sizes": "changes size within a clip (40x32 and 32x32)",
    }


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 20 frames in folders at two depths, and folders of frames."""
    root = tmp_path_factory.mktemp("real")
    for index, frames in enumerate(moving_shapes(NUM, 20, seed=0)):
        if index % 10 == 9:
            write_frames(root / f"frames_{index}", frames)
        else:
            write_video(root / "ab"[index % 2] / f"{index}{('.mp4', '.avi')[index % 2]}", frames)
    return root


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of clips that a sampler writes."""
    return write_clips(tmp_path_factory.mktemp("fake") / "samples.npz", moving_shapes(NUM, 16, seed=1))


@pytest.fixture(scope="module")
def outcome(real: Path, fake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    out = tmp_path_factory.mktemp("out")
    return measure(real, fake, PROTOCOL, replace(CPU, out=out)), out


def decode_everything(path: Path) -> list[Image.Image]:
    if path.is_dir():
        return [Image.open(path / f"frame_{index}.png") for index in range(20)]
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def test_features_and_figure_are_those_of_a_plain_computation(
    real: Path, fake: Path, outcome: tuple[Outcome, Path]
) -> None:
    done, detector = outcome[0], build_detector("shapes3d")
    paths = [*real.glob("?/*"), *real.glob("frames_*")]
    names = sorted((path.relative_to(real).as_posix() for path in paths), key=lambda name: hash_uint64(0, name))
    clips = []
    for name in names:
        start = clip_start(0, name, 0, 5)
        clips.append(np.stack([np.asarray(frame) for frame in decode_everything(real / name)[start : start + 16]]))
    assert done.real.video_ids == names
    expected = detector(clips_to_tensor(np.stack(clips))).numpy()
    np.testing.assert_allclose(done.real.features, expected, rtol=1e-4, atol=1e-5)
    fakes = detector(clips_to_tensor(moving_shapes(NUM, 16, seed=1))).numpy()
    assert done.quality.fvd == pytest.approx(frechet_distance(expected, fakes), rel=1e-4)
    assert (done.quality.n_real, done.quality.n_fake, done.quality.label) == (NUM, NUM, "internal")


def test_the_protocol_says_what_was_done(outcome: tuple[Outcome, Path]) -> None:
    protocol = outcome[0].quality.protocol.to_dict()
    asked = {"num_frames": 16, "frame_stride_real": 1, "resolution": 32, "num_real": NUM, "num_fake": NUM}
    assert {name: protocol[name] for name in asked} == asked
    assert protocol["storage"] == "real: .avi, .mp4, .png; generated: uint8, lossless"
    assert protocol["split"] == "as given"
    assert protocol["dataset_manifest_sha256"] == outcome[0].real.manifest_sha256
    assert len(protocol["detector_weights_sha256"]) == 64
    assert outcome[0].protocol_name == f"builtin, num_real={NUM}, num_fake={NUM}"


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (7, 2), (NUM, 1)])
def test_batches_and_workers_change_nothing(
    real: Path, fake: Path, outcome: tuple[Outcome, Path], batch_size: int, num_workers: int
) -> None:
    again = measure(real, fake, PROTOCOL, FvdOptions(device="cpu", batch_size=batch_size, num_workers=num_workers))
    assert again.real.video_ids == outcome[0].real.video_ids
    assert again.real.tried == outcome[0].real.tried
    np.testing.assert_allclose(again.real.features, outcome[0].real.features, rtol=1e-5, atol=1e-6)
    assert again.quality.fvd == pytest.approx(outcome[0].quality.fvd, rel=1e-5)
    assert again.quality.protocol_hash == outcome[0].quality.protocol_hash


def test_workers_alone_change_no_bit(real: Path, fake: Path, outcome: tuple[Outcome, Path]) -> None:
    again = measure(real, fake, PROTOCOL, replace(CPU, num_workers=2))
    assert np.array_equal(again.real.features, outcome[0].real.features)
    assert again.quality == outcome[0].quality


def test_broken_videos_are_listed_with_reasons_and_change_nothing_else(
    real: Path, fake: Path, outcome: tuple[Outcome, Path], tmp_path: Path
) -> None:
    root = tmp_path / "real"
    shutil.copytree(real, root)
    reasons = write_broken(root, moving_shapes(1, 20, seed=9)[0])
    (root / "labels.csv").write_text("")
    done = measure(root, fake, replace(PROTOCOL, num_real=None), CPU)
    listed = {video.video_id: video.reason for video in done.real.dropped}
    assert listed.keys() == reasons.keys()
    for name, beginning in reasons.items():
        assert listed[name].startswith(beginning), name
    assert done.real.ignored == ["labels.csv"]
    np.testing.assert_allclose(done.real.features, outcome[0].real.features, rtol=1e-5, atol=1e-6)
    assert done.real.video_ids == outcome[0].real.video_ids
    assert done.quality.protocol.dataset_manifest_sha256 == outcome[0].real.manifest_sha256


def test_the_next_in_order_takes_the_place_of_a_broken_one(real: Path, tmp_path: Path, fake: Path) -> None:
    root = tmp_path / "real"
    shutil.copytree(real, root)
    first = measure(root, fake, replace(FEW, num_real=10), CPU).real.video_ids
    victim = next(name for name in first[:6] if name.endswith((".mp4", ".avi")))
    (root / victim).write_bytes(b"gone")
    done = measure(root, fake, FEW, CPU).real
    assert done.video_ids == [name for name in first if name != victim][:6]
    assert [video.video_id for video in done.dropped] == [victim]
    assert len(done.tried) == 7


def test_the_files_that_are_left(outcome: tuple[Outcome, Path]) -> None:
    done, out = outcome
    names = ["clips.png", "clips.webp", "fake_features.npz", "fvd.json", "real_features.npz"]
    assert sorted(path.name for path in out.iterdir()) == names
    written = json.loads((out / "fvd.json").read_text())
    assert written == json.loads(json.dumps(done.to_dict()))
    assert written["seeds"] == {"clip_seed": 0, "sampling_seed": 0}
    assert {"torch", "numpy"} <= written["software"].keys()
    with Image.open(out / "clips.png") as sheet:
        assert sheet.size == (8 * 64 + 7 * 4, 2 * 64 + 4)  # real ones above, generated ones below, twice as large
    kept = load_features(out / "fake_features.npz")
    assert np.array_equal(kept.features, done.fake.features)
    assert kept.shuffled is not None
    assert kept.tried == done.fake.tried


def refuse_to_compute(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


def test_nothing_is_computed_twice(
    real: Path, fake: Path, outcome: tuple[Outcome, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fvd, "compute_features", refuse_to_compute)
    again = measure(real, fake, PROTOCOL, replace(CPU, out=outcome[1]))
    assert again.quality == outcome[0].quality
    assert again.control == outcome[0].control


def _change_a_byte(root: Path) -> None:
    path = next(root.glob("frames_*/frame_8.png"))  # which is in every clip
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def _add_a_video(root: Path) -> None:
    write_frames(root / "one_more", moving_shapes(1, 16, seed=4)[0])


@pytest.mark.parametrize("change", [_change_a_byte, _add_a_video])
def test_other_videos_are_computed_again(
    real: Path,
    fake: Path,
    outcome: tuple[Outcome, Path],
    tmp_path: Path,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, out = tmp_path / "real", tmp_path / "out"
    shutil.copytree(real, root)
    shutil.copytree(outcome[1], out)
    change(root)
    monkeypatch.setattr(fvd, "compute_features", refuse_to_compute)
    with pytest.raises(AssertionError, match="computed again"):
        measure(root, fake, PROTOCOL, replace(CPU, out=out))


@pytest.mark.parametrize("field", ["num_frames", "resolution", "clip_seed", "num_real", "frame_stride_real"])
def test_another_protocol_is_computed_again(
    real: Path, fake: Path, outcome: tuple[Outcome, Path], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = protocol_from_words(
        [f"protocol.{name}={value}" for name, value in {"num_real": NUM, "num_fake": NUM, field: 8}.items()]
    )
    monkeypatch.setattr(fvd, "compute_features", refuse_to_compute)
    with pytest.raises(AssertionError, match="computed again"):
        measure(real, fake, other, replace(CPU, out=outcome[1]))


def test_kept_features_stand_for_the_videos(outcome: tuple[Outcome, Path], fake: Path) -> None:
    done, out = outcome
    for generated in (fake, out / "fake_features.npz"):
        again = measure(out / "real_features.npz", generated, PROTOCOL, CPU)
        assert again.quality == done.quality
        assert again.control == done.control
    fewer = measure(out / "real_features.npz", out / "fake_features.npz", FEW, CPU)
    assert fewer.real.video_ids == done.real.video_ids[:6]
    assert np.array_equal(fewer.fake.features, done.fake.features[:6])


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["protocol.num_frames=8"], NotComparable, "real_features.npz was made under another.*num_frames is 16, not 8"),
        (["protocol.resolution=64", "protocol.clip_seed=1"], NotComparable, "resolution is 32, not 64, clip_seed is 0"),
        (["protocol.offset_rule='first frame'"], NotComparable, "offset_rule is 'hash of seed and video', not 'first"),
        (["protocol=styleganv-2048-16f"], NotComparable, "detector is 'shapes3d', not 'i3d'"),
        (["protocol.num_real=71"], StbenchError, "holds the 70 videos that were asked for then, not 71"),
        (["protocol.num_real=null"], StbenchError, "holds the 70 videos that were asked for then, not all"),
    ],
)
def test_kept_features_of_another_protocol_are_refused(
    outcome: tuple[Outcome, Path], words: list[str], error: type[StbenchError], message: str
) -> None:
    real, fake = (outcome[1] / f"{side}_features.npz" for side in ("real", "fake"))
    with pytest.raises(error, match=message):
        measure(real, fake, protocol_from_words(["protocol.num_fake=70", *words]), CPU)


def test_generated_clips_begin_at_the_first_frame(tmp_path: Path, fake: Path) -> None:
    clips = moving_shapes(6, 24, seed=2)
    long, cut = write_clips(tmp_path / "long.npz", clips), write_clips(tmp_path / "cut.npz", clips[:, :16])
    first, second = (measure(fake, path, FEW, CPU).fake.features for path in (long, cut))
    assert np.array_equal(first, second)
    anywhere = replace(FEW, offset_rule_fake="hash of seed and video")
    assert not np.array_equal(measure(fake, long, anywhere, CPU).fake.features, first)


def test_the_control_sees_motion_and_only_motion(outcome: tuple[Outcome, Path], tmp_path: Path, fake: Path) -> None:
    done = outcome[0]
    assert done.control is not None
    assert done.control.fvd_shuffled is not None
    assert done.control.fvd_shuffled > 3 * done.quality.fvd
    still = moving_shapes(NUM, 16, seed=3)
    still[:] = still[:, :1]
    frozen = measure(fake, write_clips(tmp_path / "still.npz", still), PROTOCOL, CPU)
    assert frozen.control == ShuffledControl(frozen.quality.fvd, frozen.quality.kvd)
    assert measure(fake, fake, PROTOCOL, replace(CPU, no_control=True)).control is None


def test_fewer_real_videos_are_all_taken_and_counted(fake: Path, tmp_path: Path) -> None:
    real = write_clips(tmp_path / "real.npz", moving_shapes(66, 16, seed=5))
    done = measure(real, fake, replace(PROTOCOL, num_real=2048), CPU)
    assert done.quality.fvd is not None
    assert (done.quality.n_real, done.quality.protocol.num_real) == (66, 66)
    plenty = measure(fake, fake, replace(PROTOCOL, num_real=66), CPU)
    assert plenty.quality.protocol_hash != done.quality.protocol_hash


def test_fewer_generated_videos_are_refused_with_what_to_ask_for(fake: Path) -> None:
    done = measure(fake, fake, replace(PROTOCOL, num_fake=128), CPU)
    assert done.quality.fvd is None
    assert done.quality.kvd is not None
    assert done.refusal is not None
    assert done.refusal.startswith("the protocol asks for 128 generated clips, got 70")
    assert done.refusal.endswith("protocol.num_fake=70 asks for as many as there are")
    assert done.control is not None
    assert done.control.fvd_shuffled is None


def test_nothing_is_advised_that_would_be_refused_next(fake: Path, tmp_path: Path) -> None:
    few = write_clips(tmp_path / "few.npz", moving_shapes(3, 16, seed=6))
    done = measure(fake, few, PROTOCOL, CPU)
    assert done.refusal == (f"the protocol asks for {NUM} generated clips, got 3; kvd needs at least 16 on each side")


COMMAND = [sys.executable, "-m", "stbench.cli", "fvd"]


def test_the_command(outcome: tuple[Outcome, Path]) -> None:
    kept = [str(outcome[1] / f"{side}_features.npz") for side in ("real", "fake")]
    words = [*COMMAND, *kept, f"protocol.num_real={NUM}", f"protocol.num_fake={NUM}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for text in ("70 of 70 videos used", "FVD [shapes3d]", "KVD [shapes3d]", "frames shuffled", "builtin, num_real=70"):
        assert text in done.stdout
    assert f"{outcome[0].quality.fvd:.2f}" in done.stdout


def test_two_processes_share_the_work_and_one_speaks(
    real: Path, fake: Path, outcome: tuple[Outcome, Path], tmp_path: Path
) -> None:
    """As torchrun starts them; with too few generated clips for an FVD."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = [*COMMAND, str(real), str(fake), f"protocol.num_real={NUM}", "protocol.num_fake=8", "--device", "cpu"]
    words += ["--out", str(tmp_path / "out"), "--json", "-"]
    processes = [
        subprocess.Popen(
            words, env={**os.environ, **group, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    (first, messages), (second, _) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [3, 3], messages
    assert b"stbench: FVD refused: FVD of shapes3d needs more than 64 clips on each side" in messages
    assert b"features, real" in messages
    assert second == b""
    assert json.loads(first)["quality"]["n_fake"] == 8
    shared, alone = load_features(tmp_path / "out" / "real_features.npz"), outcome[0].real
    assert (shared.video_ids, shared.tried, shared.dropped) == (alone.video_ids, alone.tried, alone.dropped)
    np.testing.assert_allclose(shared.features, alone.features, rtol=1e-5, atol=1e-6)
    assert shared.manifest_sha256 == alone.manifest_sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spatial_rule": "stretch"}, r"unknown protocol\.spatial_rule 'stretch'"),
        ({"offset_rule_fake": "middle"}, r"unknown protocol\.offset_rule_fake 'middle'"),
        ({"preprocessing": "resize"}, "unknown preprocessing of shapes3d 'resize'"),
        ({"num_frames": 3}, r"protocol\.num_frames=3: the detector shapes3d needs at least 4$"),
        ({"num_frames": 17}, "none of 70 videos can be used: 70 shorter than a clip, 17 frames"),
    ],
)
def test_what_cannot_be_done_is_refused(fake: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        measure(fake, fake, replace(PROTOCOL, **changes), CPU)


def test_wrong_places_are_named(tmp_path: Path, fake: Path, outcome: tuple[Outcome, Path]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "video.mp4").write_bytes(b"x")
    (tmp_path / "text.npz").write_bytes(b"x")
    np.savez(tmp_path / "run.npz", real=np.zeros(3), fake=np.zeros(3))
    messages = {
        "nowhere": "nowhere does not exist: expected a folder of videos",
        "empty": "empty: holds no videos",
        "video.mp4": "video.mp4: expected a folder of videos",
        "text.npz": "text.npz: cannot be read as .npz",
        "run.npz": "run.npz: expected clips, or features that `stbench fvd` kept; it holds fake, real",
    }
    for name, message in messages.items():
        with pytest.raises(StbenchError, match=message) as caught:
            measure(tmp_path / name, fake, PROTOCOL, CPU)
        assert "\n" not in str(caught.value)
    damaged = (outcome[1] / "real_features.npz").read_bytes()[:-200]
    (tmp_path / "cut.npz").write_bytes(damaged)
    with pytest.raises(StbenchError, match=r"cut\.npz: cannot be read"):
        measure(tmp_path / "cut.npz", fake, PROTOCOL, CPU)


def test_output_among_the_videos_is_refused(real: Path, fake: Path) -> None:
    with pytest.raises(StbenchError, match="what is written there would be taken for videos"):
        measure(real, fake, FEW, replace(CPU, out=real / "a" / "out"))
    assert not (real / "a" / "out").exists()


def test_only_broken_videos(tmp_path: Path, fake: Path) -> None:
    write_broken(tmp_path, moving_shapes(1, 20, seed=9)[0])
    with pytest.raises(StbenchError, match=r"none of 9 videos can be used: 3 unreadable, 1 "):
        measure(tmp_path, fake, FEW, CPU)


def test_real_videos(shared_clips: Path, tmp_path: Path) -> None:
    protocol = protocol_from_words(["protocol.num_frames=16", "protocol.num_fake=5", "protocol.resolution=64"])
    done = measure(shared_clips, shared_clips, protocol, replace(CPU, out=tmp_path / "out"))
    assert len(done.real.video_ids) == 5
    assert done.real.dropped == []
    assert done.real.ignored == ["README.md"]
    assert done.quality.label == "refused"
    assert (tmp_path / "out" / "clips.webp").stat().st_size > 0
