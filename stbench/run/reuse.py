"""`stbench sample` and `stbench evaluate`: a trained run, or published weights, used again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import nn

from stbench.errors import StbenchError
from stbench.progress import progress_bar
from stbench.records.clips import Clips
from stbench.records.sections import Quality
from stbench.records.store import read_record
from stbench.reports.media import make_sheet
from stbench.run.evaluation import Evaluator
from stbench.run.folder import RunFolder
from stbench.run.generation import generate, labels_of_samples
from stbench.run.setup import Setup, prepare
from stbench.run.stages import run
from stbench.settings.resolve import override, resolve
from stbench.settings.schema import RunConfig
from stbench.storage.files import write_json
from stbench.storage.weights import load_strictly
from stbench.training.start import initialise_from, read_any_weights

REUSABLE = ("eval.", "protocol", "precision", "attention", "device", "dataset.root")


def sample_from(source: str, words: Iterable[str], num: int, out: Path | None) -> Path:
    """Draw clips and write `samples.npz` and `samples.webp`.

    Args:
        source: a run's folder, or a weights file.
        words: settings that differ from the run's; for a file all settings, as of a run.
        num: how many clips.
        out: folder to write to; by default `sampled` in the run's folder, or beside the file.

    Returns:
        The moving picture's path.
    """
    path = _existing(source)
    setup = prepare(_config_of(path, words))
    backbone = _load_backbone(setup, path)
    with progress_bar("sampling", num) as advance:
        batches = []
        seed = setup.config.settings.eval.seed
        for batch in generate(backbone, setup.autoencoder, setup.runtime, setup.sampling, num, seed, "shown"):
            batches.append(batch)
            advance(len(batch))
    folder = out or (path if path.is_dir() else path.parent) / "sampled"
    folder.mkdir(parents=True, exist_ok=True)
    labels = labels_of_samples(range(num), setup.dataset.num_classes)
    clips = Clips(np.concatenate(batches), labels, setup.dataset.class_names)
    clips.save(folder / "samples.npz")
    picture = folder / "samples.webp"
    picture.write_bytes(make_sheet(clips).webp)
    return picture


def evaluate_again(source: str, words: Iterable[str], out: Path) -> Quality:
    """Measure quality again, or for the first time.

    Args:
        source: a run's folder: its averaged weights are measured, and `evaluation-<hash>.json` is written into it.
            A weights file: a run without training steps is made of it in `out`, with a record of its own.
        words: settings that differ from the run's; for a file all settings, as of a run.
        out: folder of runs, for a weights file.

    Returns:
        The quality section.
    """
    path = _existing(source)
    if not path.is_dir():
        config = resolve([*words, f"train.init={path}", "train.steps=0"])
        measured = read_record(run(config, out, resume=True)).quality
        assert measured is not None  # of a finished run
        return measured
    setup = prepare(_config_of(path, words))
    quality = Evaluator(setup).evaluate(_load_backbone(setup, path), "final", "sampling").quality
    write_json(path / f"evaluation-{quality.protocol_hash[:8]}.json", asdict(quality))
    return quality


def _existing(source: str) -> Path:
    path = Path(source)
    if not path.exists():
        raise StbenchError(f"{path} does not exist: expected a run's folder or a weights file")
    return path


def _config_of(path: Path, words: Iterable[str]) -> RunConfig:
    """The configuration of a run's folder with some settings changed, or the one that `words` describe."""
    if not path.is_dir():
        return resolve(words)
    return override(RunFolder(path).read_config(), words, REUSABLE)


def _load_backbone(setup: Setup, path: Path) -> nn.Module:
    backbone = setup.build_backbone().eval()
    if path.is_dir():
        load_strictly(backbone, read_any_weights(path), path)
    else:
        initialise_from(backbone, str(path))
    return backbone
