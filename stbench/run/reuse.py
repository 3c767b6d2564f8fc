"""`stbench sample` and `stbench evaluate`: a trained run, or published weights, used again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import nn

from stbench.errors import StbenchError
from stbench.progress import progress_bar
from stbench.records.sections import Quality
from stbench.records.store import read_record
from stbench.reports.media import make_sheet
from stbench.run.evaluation import Evaluator
from stbench.run.folder import RunFolder
from stbench.run.generation import generate, labels_of_samples
from stbench.run.setup import Setup, prepare
from stbench.run.stages import run
from stbench.settings.resolve import override, resolve
from stbench.storage.clips import Clips
from stbench.storage.files import check_folder, making, write_bytes, write_json
from stbench.training.start import initialise_from

REUSABLE = ("eval.", "protocol", "precision", "attention", "device", "dataset.root", "autoencoder.weights")


def sample_from(source: str, words: Iterable[str], num: int, out: Path | None, trust_code: bool = False) -> Path:
    """Draw clips and write `samples.npz` and `samples.webp`.

    Args:
        source: a run's folder, or a weights file.
        words: settings that differ from the run's; for a file all settings, as of a run.
        num: how many clips.
        out: folder to write to; by default `sampled` in the run's folder, or beside the file.
        trust_code: whether code that a run's folder names, and that is not stbench's, may be imported.

    Returns:
        The moving picture's path.
    """
    folder = out or (Path(source) if Path(source).is_dir() else Path(source).parent) / "sampled"
    check_folder(folder)
    setup, backbone = _trained(source, words, trust_code)
    with progress_bar("sampling", num) as advance:
        batches = []
        seed = setup.config.settings.eval.seed
        for batch in generate(backbone, setup.autoencoder, setup.runtime, setup.sampling, num, seed):
            batches.append(batch)
            advance(len(batch))
    labels = labels_of_samples(range(num), setup.dataset.num_classes)
    clips = Clips(np.concatenate(batches), labels, setup.dataset.class_names)
    with making(folder):
        clips.save(folder / "samples.npz")
        write_bytes(folder / "samples.webp", make_sheet(clips).webp)
    return folder / "samples.webp"


def evaluate_again(source: str, words: Iterable[str], out: Path, trust_code: bool = False) -> Quality:
    """Measure quality again, or for the first time.

    Args:
        source: a run's folder: its averaged weights are measured, and `evaluation-<hash>.json` is written into it.
            A weights file: a run without training steps is made of it in `out`, with a record of its own.
        words: settings that differ from the run's; for a file all settings, as of a run.
        out: folder of runs, for a weights file.
        trust_code: as of `sample_from`.

    Returns:
        The quality section.
    """
    if Path(source).is_file():
        config = resolve([*words, f"train.init={source}", "train.steps=0"])
        measured = read_record(run(config, out, resume=True)).quality
        assert measured is not None  # of a finished run
        return measured
    setup, backbone = _trained(source, words, trust_code)
    check_folder(Path(source))
    quality = Evaluator(setup).evaluate(backbone, "sampling").quality
    write_json(Path(source) / f"evaluation-{quality.protocol_hash[:8]}.json", asdict(quality))
    return quality


def _trained(source: str, words: Iterable[str], trust_code: bool) -> tuple[Setup, nn.Module]:
    """A run with some settings changed, or the one that `words` describe for a weights file; and its backbone."""
    path = Path(source)
    if not path.exists():
        raise StbenchError(f"{path} does not exist: expected a run's folder or a weights file")
    is_run = path.is_dir()
    setup = prepare(override(RunFolder(path).read_config(trust_code), words, REUSABLE) if is_run else resolve(words))
    backbone = setup.build_backbone().eval()
    initialise_from(backbone, source, setup.architecture)
    return setup, backbone
