"""`stbench list`, and the resolved configuration of `--dry-run`. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stbench import paths
from stbench.errors import StbenchError, unknown_name
from stbench.reports.terminal import print_rows

if TYPE_CHECKING:
    from stbench.run.preview import Forecast
    from stbench.settings.components import About
    from stbench.settings.resolve import Words
    from stbench.settings.schema import RunConfig


def print_listing(what: str, words: Words = ()) -> None:
    """Print one table of what there is.

    Args:
        what: "variants", "datasets", "presets", "protocols", "detectors", "claims" or "settings".
        words: variant=NAME and dataset=NAME, whose own settings stand among those of runs.

    Raises:
        StbenchError: for other words, or words with another table.
    """
    if words and what != "settings":
        raise StbenchError("variant=NAME and dataset=NAME are for `stbench list settings`: it shows theirs, too")
    rows = [*_LISTINGS[what](), *_arguments(words)]
    print(what)
    print_rows(rows, indent=2)
    print()


def print_config(config: RunConfig) -> None:
    """Print a resolved configuration as YAML, with its hash and the folder that a run would get."""
    import yaml

    print(yaml.safe_dump(config.to_dict(), sort_keys=False).rstrip())
    print(f"config_hash: {config.config_hash}")
    print(f"run_id: {config.run_id}")


def print_forecast(forecast: Forecast) -> None:
    """Print what a run would be, and about what it would take."""
    print_config(forecast.config)
    counts, memory, settings = forecast.counts, forecast.memory, forecast.config.settings
    classes = f", {forecast.num_classes} classes" if forecast.num_classes else ""
    tokens = f", {forecast.num_tokens:,} tokens" if forecast.num_tokens else ""
    step = counts.gmacs_train_step
    rows = [
        ("latents", "x".join(map(str, forecast.latent_shape)) + tokens + classes),
        ("parameters", f"{counts.params_total:,} ({counts.params_trainable:,} trainable)"),
        ("operations", f"{counts.gmacs:.3f} GMACs a clip and network evaluation"),
        ("  training", "unknown" if step is None else f"{step:.3f} GMACs a clip and training step"),
        *(("  incomplete", reason) for reason in counts.incomplete),
        ("memory", f"{memory.state_mib:.0f} MiB of weights, their average, gradients and optimizer"),
        (
            "  and about",
            f"{memory.activations_mib:.0f} MiB of activations, {settings.train.batch_size} clips in float32 (less in "
            "half precision and with fused attention), and what the libraries take",
        ),
        ("time, at least", _least_time(forecast)),
        *([("validation loss", f"none: {forecast.no_validation}")] if forecast.no_validation else []),
    ]
    print()
    print_rows(rows)


def _least_time(forecast: Forecast) -> str:
    if forecast.training_gmacs is None:
        return "unknown"
    training, sampling = map(forecast.least_seconds, (forecast.training_gmacs, forecast.sampling_gmacs))
    speed = f"{forecast.ceiling_gflops_per_s:.0f} GFLOP/s, the speed of a large matrix product here"
    return f"{training:.3g} s of training and {sampling:.3g} s of sampling, if all went at {speed}"


def _variants() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "family", "parameters, M", "GMACs a clip", "latents", "source")]
    for name, about in _files("variant"):
        if isinstance(about, StbenchError):
            rows.append((name, "?", "", "", "", str(about)))
            continue
        family = about.target.removeprefix("stbench.backbones.").partition(":")[0]
        figures = (about.expect.get("params_m", ""), about.expect.get("gmacs", ""))
        rows.append((name, family, *figures, about.latents, about.source))
    return rows


def _datasets() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "dataset", "source")]
    for name, about in _files("dataset"):
        rows.append((name, "?", str(about)) if isinstance(about, StbenchError) else (name, about.target, about.source))
    return rows


def _files(kind: str) -> Iterator[tuple[str, About | StbenchError]]:
    """Every file of a kind by its name; one broken file of the user's must not hide the others."""
    from stbench.settings.components import describe_file

    for name, path in paths.config_files(f"{kind}s").items():
        try:
            yield name, describe_file(kind, path)
        except StbenchError as error:
            yield name, error


def _presets() -> list[tuple[str, ...]]:
    from stbench.settings.presets import PRESETS

    keys = list(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
    return [("setting", *PRESETS), *((key, *(str(each.get(key, "")) for each in PRESETS.values())) for key in keys)]


def _protocols() -> list[tuple[str, ...]]:
    from stbench.metrics.protocol import PROTOCOLS

    rows: list[tuple[str, ...]] = [("name", "detector", "preprocessing", "frames", "real stride", "clips")]
    for name, each in PROTOCOLS.items():
        frames, stride = str(each.num_frames), str(each.frame_stride_real)  # "the run's" where they are open
        rows.append((name, each.detector, each.preprocessing, frames, stride, str(each.num_real or "all")))
    return rows


def _detectors() -> list[tuple[str, ...]]:
    from stbench.metrics.catalogue import DETECTORS
    from stbench.metrics.detector_weights import describe_weights

    rows: list[tuple[str, ...]] = [("name", "features", "what it is", "weights")]
    for name, info in DETECTORS.items():
        rows.append((name, str(info.feature_dim or "the weights'"), info.description, describe_weights(name)))
    return rows


def _claims() -> list[tuple[str, ...]]:
    from stbench.records.claims import load_claims

    rows: list[tuple[str, ...]] = [("name", "claims", "scales", "sha256", "title")]
    for name, path in paths.config_files("claims").items():
        try:
            claims = load_claims(str(path))
            rows.append((name, str(len(claims.claims)), ", ".join(claims.scales), claims.sha256[:12], claims.title))
        except StbenchError as error:  # one broken file of the user's must not hide the others
            rows.append((name, "?", "?", "?", str(error)))
    return rows


def _settings() -> list[tuple[str, ...]]:
    from stbench.settings.schema import dotted_settings, setting_types
    from stbench.settings.values import describe_type

    rows: list[tuple[str, ...]] = [("setting", "default", "expected", "meaning")]
    for key, declared in dotted_settings().items():
        about, kind = declared.metadata, describe_type(setting_types()[key])
        low, high, bound = about["at_least"], about["at_most"], about["more_than"]
        limits = "" if low is None else f", at least {low}" if high is None else f", {low} to {high}"
        limits += "" if bound is None else f", more than {bound}"
        expected = " | ".join(about["choices"]) if about["choices"] else kind + limits
        default = _spelled(declared.default)
        rows.append((key, default, expected, about["about"] + ("" if about["hashed"] else "; itself in no hash")))
    return rows


def _arguments(words: Words) -> list[tuple[str, ...]]:
    """The settings of a variant and of a dataset: what their constructors take, but for what follows from the run."""
    from stbench.settings.components import TARGET_KEYS, load_component, load_target, signature_parameters
    from stbench.settings.resolve import parse_overrides
    from stbench.settings.values import annotations_of, describe_type

    rows: list[tuple[str, ...]] = []
    for kind, name in parse_overrides(words).items():
        if kind not in TARGET_KEYS:
            raise unknown_name("word", kind, TARGET_KEYS)
        component = load_component(kind, str(name))
        target = load_target(component)
        annotations = annotations_of(target)
        for argument in signature_parameters(component):
            default = _spelled(component.settled[argument]) if argument in component.settled else ""
            expected = describe_type(annotations[argument]) if argument in annotations else ""
            about = f"of {target.__name__}"
            if kind == "variant" and argument in _run_facts():
                default, about = "", "follows from the run, and cannot be set in one"
            rows.append((f"{kind}.{argument}", default, expected, about))
    return rows


def _spelled(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_spelled, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _run_facts() -> tuple[str, ...]:
    from stbench.backbones.base import RUN_FACTS  # torch is there by now: the variant's class brought it

    return RUN_FACTS


# Each with its header as the first row.
_LISTINGS: dict[str, Callable[[], list[tuple[str, ...]]]] = {
    "variants": _variants,
    "datasets": _datasets,
    "presets": _presets,
    "protocols": _protocols,
    "detectors": _detectors,
    "claims": _claims,
    "settings": _settings,
}
