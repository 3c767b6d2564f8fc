"""`stbench study noise` as a function: its words, its refusals, its record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stbench.data.synthetic.shapes import Shapes
from stbench.errors import StbenchError
from stbench.metrics.detectors.shapes3d import Shapes3DDetector
from stbench.records.protocol import Protocol, protocol_hash
from stbench.records.store import find_records
from stbench.settings.options import NoiseOptions
from stbench.studies.noise import prepare, study_noise

WORDS = ["dataset.image_size=16", "dataset.num_frames=8", "device=cpu"]


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study.json").read_text())


def test_the_record_says_how_it_was_measured(study_folder: Path, options: NoiseOptions) -> None:
    study = read(study_folder)
    assert (study["schema"], study["study"], study["detector"]) == (1, "noise", "shapes3d")
    assert study["protocol_hash"] == protocol_hash(Protocol(**study["protocol"]))
    assert study["protocol"]["num_real"] == study["protocol"]["num_fake"] == options.num
    assert (study["protocol"]["resolution"], study["protocol"]["num_frames"]) == (16, 8)
    assert len(study["protocol"]["detector_weights_sha256"]) == 64
    assert len(study["machine"]["fingerprint"]) == 12
    assert study["software"]["torch"]
    assert study["gaussian_check"] is None


def test_the_protocol_of_the_published_study_is_made_again(reference: Path) -> None:
    (path,) = reference.glob("*/noise-study/study.json")
    study = json.loads(path.read_text(encoding="utf-8"))
    options = NoiseOptions(num=study["settings"]["num"], seed=study["settings"]["seed"])
    protocol = prepare(["device=cpu"], options).protocol
    assert protocol.to_dict() == study["protocol"]
    assert protocol_hash(protocol) == study["protocol_hash"]


def test_the_built_in_detector_orders_every_distortion(study_folder: Path) -> None:
    noise = read(study_folder)["noise"]
    ranks = {each["distortion"]: each["spearman_fvd"] for each in noise["distortions"]}
    assert len(ranks) == 8
    assert min(ranks.values()) >= 0.75, ranks
    assert noise["floor"] <= min(row["fvd"] for row in noise["rows"][1:]) * 1.5
    assert 0 < noise["by_strength"][-1]["temporal_share"] < 1


@pytest.mark.usefixtures("few_repeats")
def test_same_seed_same_figures_whatever_the_batches(study_folder: Path) -> None:
    again = prepare(WORDS, NoiseOptions(num=72, dim=0, batch_size=7)).run()
    rows = read(study_folder)["noise"]["rows"]
    for row, other in zip(rows, again["noise"]["rows"], strict=True):
        assert other["fvd"] == pytest.approx(row["fvd"], rel=1e-3)  # rounding of the network's sums
        assert other["kvd"] == pytest.approx(row["kvd"], rel=1e-3, abs=1e-4)


def test_fewer_clips_than_features_are_judged_by_kvd(few_clips: dict[str, Any]) -> None:
    noise = few_clips["noise"]
    assert noise["figure"] == "kvd"
    assert all(row["fvd"] is None for row in noise["rows"])
    assert all(each["spearman_fvd"] is None for each in noise["distortions"])
    assert all(-1 <= each["spearman_kvd"] <= 1 for each in noise["distortions"])


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["detektor=i3d"], NoiseOptions(), "unknown key 'detektor': did you mean 'detector'"),
        (["detector=shapes"], NoiseOptions(), "unknown detector 'shapes': did you mean 'shapes3d'"),
        (["preprocessing=resize23"], NoiseOptions(), "did you mean 'resize32'"),
        (["dataset=shape"], NoiseOptions(), "unknown dataset 'shape': did you mean 'shapes'"),
        (["dataset.lenght=20"], NoiseOptions(), "did you mean 'length'"),
        (["dataset.length=100"], NoiseOptions(num=64), r"--num 64 takes 128 videos.*has 100: expected at most 50"),
        ([], NoiseOptions(num=8), "--num 8: the distances need at least 16 clips"),
        (["dataset.num_frames=3"], NoiseOptions(num=64), "the detector shapes3d needs at least 4"),
        ([], NoiseOptions(weights=Path("missing.safetensors")), "missing.safetensors"),
    ],
)
def test_wrong_use_is_refused_in_one_line(words: list[str], options: NoiseOptions, message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        prepare(words, options)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("few_repeats")
def test_a_detector_of_ones_own_on_videos_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_detectors.py").write_text(
        "from stbench.metrics.detectors import Detector\n\n\n"
        "class Means(Detector):\n"
        "    name, feature_dim, min_frames = 'means', 3, 1\n"
        "    weights_sha256, preprocessing = 'none', 'none'\n\n"
        "    def compute_features(self, clips):\n"
        "        return clips.mean(dim=(2, 3, 4))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    videos = Shapes(image_size=16, num_frames=4, frame_stride=1)
    for index in range(40):
        folder = tmp_path / "videos" / f"{index:02d}"
        folder.mkdir(parents=True)
        for time, frame in enumerate(videos.clip(index, 0).frames):
            Image.fromarray(frame).save(folder / f"{time}.png")
    words = ["detector=my_detectors:Means", "dataset=video_folder", f"dataset.root={tmp_path / 'videos'}"]
    words += ["dataset.image_size=16", "dataset.num_frames=4", "device=cpu"]
    study = prepare(words, NoiseOptions(num=20, dim=0)).run()
    assert (study["detector"], study["protocol"]["dataset"]) == ("my_detectors:Means", "video_folder")
    assert study["protocol"]["bn_eps"] is None
    answers = {each["distortion"]: each for each in study["noise"]["distortions"]}
    # A mean over time and space does not see the order of frames, and hardly a blur.
    for name in ("local_swap", "global_swap"):
        assert abs(answers[name]["response"]) < 1e-3 * answers["black_rectangles"]["response"]
        assert answers[name]["seen_from"] is None
    assert answers["black_rectangles"]["spearman_fvd"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("per_frame", True, "looks at single frames"), ("max_frames", 7, "dataset.num_frames=8: .* needs 4 to 7")],
)
def test_a_detector_that_does_not_fit_is_refused(
    attribute: str, value: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shapes3DDetector, attribute, value)
    with pytest.raises(StbenchError, match=message):
        prepare(WORDS, NoiseOptions(num=16))


def test_a_folder_of_something_else_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StbenchError, match=r"thesis\.tex"):
        study_noise(WORDS, NoiseOptions(num=64), tmp_path)
    assert "clips" not in capsys.readouterr().err


def test_a_study_beside_records_is_no_record(study_folder: Path) -> None:
    with pytest.raises(StbenchError, match="holds no record"):
        find_records([study_folder])


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stbench.cli", "study", "noise", *WORDS, "--num", "20", "--dim", "0"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No FVD: 20 clips on each side are no more than the 64 features.")
    assert str(tmp_path / "out" / "index.html") in done.stdout
    assert "distorted clips" in done.stderr
    assert json.loads((tmp_path / "out" / "study.json").read_text())["noise"]["figure"] == "kvd"
