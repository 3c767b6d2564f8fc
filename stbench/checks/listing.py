"""`stbench list`, and the resolved configuration of `--dry-run`. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stbench import paths
from stbench.errors import StbenchError
from stbench.reports.terminal import print_rows

if TYPE_CHECKING:
    from stbench.settings.schema import RunConfig


def print_listing(what: str) -> None:
    """Print one table of what there is: "variants", "datasets", "presets", "protocols" or "detectors"."""
    header, rows = _LISTINGS[what]()
    print(what)
    print_rows([header, *rows], indent=2)
    print()


def print_config(config: RunConfig) -> None:
    """Print a resolved configuration as YAML, with its hash and the folder that a run would get."""
    import yaml

    print(yaml.safe_dump(config.to_dict(), sort_keys=False).rstrip())
    print(f"config_hash: {config.config_hash}")
    print(f"run_id: {config.run_id}")


_Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _variants() -> _Table:
    return ("name", "backbone", "source"), _component_rows("variant")


def _datasets() -> _Table:
    return ("name", "dataset", "source"), _component_rows("dataset")


def _component_rows(kind: str) -> list[tuple[str, ...]]:
    from stbench.settings.components import describe_file

    rows: list[tuple[str, ...]] = []
    for name, path in paths.config_files(f"{kind}s").items():
        try:
            about = describe_file(kind, path)
        except StbenchError as error:  # one broken file of the user's must not hide the others
            about = {"target": "?", "source": str(error)}
        rows.append((name, about["target"], about["source"]))
    return rows


def _presets() -> _Table:
    from stbench.settings.presets import PRESETS

    names = list(PRESETS)
    keys = list(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
    return ("setting", *names), [(key, *(str(PRESETS[name].get(key, "")) for name in names)) for key in keys]


def _protocols() -> _Table:
    from stbench.metrics.protocol import PROTOCOLS

    rows: list[tuple[str, ...]] = [
        (name, each.detector, each.preprocessing, str(each.num_frames or "the run's"),
         str(each.frame_stride_real or "the run's"), str(each.num_real or "all"))
        for name, each in PROTOCOLS.items()
    ]  # fmt: skip
    return ("name", "detector", "preprocessing", "frames", "real stride", "clips"), rows


def _detectors() -> _Table:
    from stbench.metrics.catalogue import DETECTORS
    from stbench.metrics.detector_weights import describe_weights

    rows: list[tuple[str, ...]] = [
        (name, str(info.feature_dim or "the weights'"), info.description, describe_weights(name))
        for name, info in DETECTORS.items()
    ]
    return ("name", "features", "what it is", "weights"), rows


_LISTINGS = {
    "variants": _variants,
    "datasets": _datasets,
    "presets": _presets,
    "protocols": _protocols,
    "detectors": _detectors,
}
