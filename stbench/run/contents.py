"""What a run is made of besides its settings: videos, weights, and the code of classes that are not stbench's.

Where they lie does not matter, what is in them does: other content is another run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stbench.data.autoencoders import Autoencoder
from stbench.data.clips import ClipDataset
from stbench.data.context import ContextEncoder
from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector
from stbench.records.store import RECORD_NAME, read_record
from stbench.runtime.code import code_of, code_sha256
from stbench.settings.schema import Contents, RunConfig
from stbench.settings.targets import is_foreign
from stbench.storage.files import write_bytes
from stbench.storage.hashing import file_sha256
from stbench.training.start import weights_file

# What a trained run is used with again; who judges it may be another, and what it started from does not matter then.
_KEPT = {
    "videos": "the videos of dataset.root",
    "autoencoder": "the autoencoder's weights",
    "context": "the weights of the context's encoder",
    "variant_code": "the code of the backbone",
    "dataset_code": "the code of the dataset",
}


def find_contents(
    config: RunConfig,
    dataset: ClipDataset,
    validation_set: ClipDataset | None,
    autoencoder: Autoencoder,
    detector: Detector,
    context_encoder: ContextEncoder | None,
) -> Contents:
    """Find what a run is made of.

    Args:
        config: of the run; where a trained one is used again, with the contents that it was made of.
        dataset: what it trains on.
        validation_set: what it is validated on.
        autoencoder: what makes its latents.
        detector: what judges it.
        context_encoder: what encodes its classes' names or its frames, if anything does.

    Raises:
        StbenchError: `train.init` names no weights, or a trained run was made of something else.
    """
    variant, own = (code_sha256(each.target, each.folder) for each in (config.variant, config.dataset))
    found = Contents(
        videos=dataset.describe().manifest_sha256,
        detector=detector.weights_sha256,
        held_out=validation_set.describe().manifest_sha256 if validation_set else None,
        autoencoder=autoencoder.weights_sha256,
        context=context_encoder.weights_sha256 if context_encoder else None,
        variant_code=variant,
        dataset_code=own,
        detector_code=code_sha256(config.settings.protocol, None),
    )
    init, trained = config.settings.train.init, config.contents
    if trained is None:
        return replace(found, init=file_sha256(weights_file(init)), init_group=_group_of(init)) if init else found
    for name, what in _KEPT.items():
        before, now = getattr(trained, name), getattr(found, name)
        if before != now:
            raise StbenchError(
                f"{what}: not what the run was made of (contents.{name} is {_short(now)}, the run's {_short(before)})"
            )
    return replace(found, init=trained.init, init_group=trained.init_group)


def _group_of(source: str) -> str | None:
    """The group of the run whose folder this is; None of a file, and of a run that is not finished."""
    folder = Path(source).expanduser()
    record = read_record(folder) if (folder / RECORD_NAME).exists() else None
    return record.group_hash if record and record.finished else None


def copy_code(config: RunConfig, folder: Path) -> None:
    """Write the code of variant and dataset into folders of these names; what is stbench's or installed is left out."""
    for component in (config.variant, config.dataset):
        code = code_of(component.target, component.folder) if is_foreign(component.target) else None
        for name, content in code.files.items() if code and not code.installed else ():
            path = folder / component.kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "none"
