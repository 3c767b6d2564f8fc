"""The tables of a report: a narrow one of results, its details in others, and all figures for programs.

What is shown is text under headings that name units and what a figure is of; a column that holds nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from stbench.records.measures import MEASURES, VALIDATION_LOSS
from stbench.records.schema import REFERENCES, Record, value_at
from stbench.records.sections import CostConditions, Validation
from stbench.records.statistics import mean
from stbench.reports.groups import Estimate, Group, conditions_apart
from stbench.reports.labels import distinctions
from stbench.reports.runs import ReportedRuns
from stbench.reports.text import format_number

METRIC_NAMES = {"fvd": "FVD", "fvd_inf": "FVD∞", "kvd": "KVD"}  # distances: lower is better
# Higher is better. Density and the MMDs are in the CSV files.
RISING_NAMES = {"inception_score": "IS"}
SHARE_NAMES = {"precision": "precision", "recall": "recall", "coverage": "coverage"}
# Shares of clips that are known of real ones, too, by the names of the measures; the first two are among the results.
BESIDE_REAL_NAMES = (
    "class_agreement",
    "motion_direction",
    "motion_speed",
    "motion_color",
    "motion_shape",
    "motion_all",
)
STEPS = {"forward": "forward", "train_step": "train step"}
OF_ONE_SEED = "†"  # behind an interval that leaves out the noise of seeds
INTERVALS = (
    f"In brackets: the 95 % interval of the mean over seeds (Student's t), or with {OF_ONE_SEED} what the clips of a "
    "single seed leave open (jackknife); another seed may well lie outside that."
)
TIMES = "Times are medians, of several runs the mean of theirs"
NOTES = {
    "Results": f"One row for each configuration and protocol. {INTERVALS} {TIMES}.",
    "Validation loss by timestep": "Mean squared error on held-out clips, lower is better, in each tenth of the noise "
    "schedule, from nearly clean clips to nothing but noise; means over seeds. Two protocols are never compared.",
    "Quality in detail": f"FVD, FVD∞ and KVD are better where lower, the others where higher. {INTERVALS}",
    "Costs": f"GMACs are of one forward pass. {TIMES}, each step alone on data that lie ready; a step in "
    "training also reads its clips, averages the weights and logs. Busy: other work kept the processors, so that the "
    "time is no figure of the network's. Empty where runs of a configuration were timed under unequal conditions.",
    "Training": "What each configuration was trained on; only equal training can be compared.",
    "Settings that differ": "All in which the configurations differ; their labels name the most telling.",
    "Runs": "Every run, as recorded.",
}

Columns = Mapping[str, Callable[[Group], str]]


def shown_tables(reported: ReportedRuns) -> dict[str, pd.DataFrame]:
    """Return every table that holds something by its title, the main results first; `NOTES` explain them."""
    groups = reported.groups
    shown = {
        "Results": results_table(groups),
        "Validation loss by timestep": validation_table(groups),
        "Quality in detail": quality_table(groups),
        "Costs": cost_table(groups),
        "Training": training_table(groups),
        "Settings that differ": settings_table(groups),
        "Runs": runs_table([(label, run.record) for label, run in reported.labelled()]),
    }
    return {title: table for title, table in shown.items() if len(table.columns) > 1}


def results_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the main results, narrow enough for a page, a terminal and a paper; rows of reference come last."""
    shown = _shown(
        groups,
        {
            **_validation_columns(groups),
            **_score_columns(groups, _ranking_metric(groups)),
            **_columns_beside_real(BESIDE_REAL_NAMES[:2]),
            **_fidelity_columns(),
            "params (M)": lambda group: _scaled(group.figure("counts.params_total"), 1e-6),
            "GMACs per clip": lambda group: format_number(group.figure("counts.gmacs")),
            **_time_columns(groups, ["train_step"]),
            "seeds": lambda group: describe_seeds(group.seeds),
        },
    )
    return pd.concat([shown, _references(groups, list(shown.columns))], ignore_index=True)


def _fidelity_columns() -> Columns:
    """How near made frames come to the real ones, beside what comes without a network."""

    def cell(path: str) -> Callable[[Group], str]:
        def shown(group: Group) -> str:
            own, plain = group.figure(f"quality.fidelity.{path}"), group.figure(f"quality.fidelity_plain.{path}")
            beside = "" if plain is None else f" (no network {format_number(plain)})"
            return "" if own is None else f"{format_number(own)}{beside}"

        return shown

    return {MEASURES[name].title: cell(name) for name in ("psnr_db", "ssim", "lpips")}


def validation_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the validation loss in each bucket of timesteps, and what it was measured on."""
    spans = {span: None for group in groups for each in group.values("validation") for span in _spans(each)}
    return _shown(
        [group for group in groups if group.values("validation")],
        {
            **{f"{low:g} to {high:g}": _bucket_cell((low, high)) for low, high in spans},
            "held-out clips": lambda group: format_number(group.figure("validation.n_clips")),
            "timesteps of each": lambda group: format_number(group.figure("validation.draws")),
            "protocol": lambda group: str(group.condition(MEASURES[VALIDATION_LOSS]))[:8],
        },
    )


def quality_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return every score with its interval, and how many clips it compares."""
    judged = [group for group in groups if group.detector]
    return _shown(
        judged,
        {
            **_score_columns(judged, METRIC_NAMES | RISING_NAMES | SHARE_NAMES),
            **_columns_beside_real(BESIDE_REAL_NAMES),
            "real clips": lambda group: format_number(group.figure("quality.n_real")),
            "sampled clips": lambda group: format_number(group.figure("quality.n_fake")),
            "protocol": lambda group: (group.protocol_hash or "")[:8],
        },
    )


def cost_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return what a configuration costs, and what its times were taken under."""
    apart = conditions_apart(groups)
    return _shown(
        groups,
        {
            "params (M)": lambda group: _scaled(group.figure("counts.params_total"), 1e-6),
            "trainable (M)": lambda group: _scaled(group.figure("counts.params_trainable"), 1e-6),
            "GMACs per clip": lambda group: format_number(group.figure("counts.gmacs")),
            **_time_columns(groups, list(STEPS), with_conditions=False),
            "step in training (ms)": lambda group: _scaled(seconds_in_training(group), 1e3),
            "peak RSS (MiB)": lambda group: format_number(group.cost("memory.peak_rss_mib")),
            "peak allocated (MiB)": lambda group: format_number(group.cost("memory.peak_allocated_mib")),
            "measured under": lambda group: "; ".join(apart[each] or _usual(each) for each in group.conditions),
        },
    )


def training_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return how long and on how much a configuration was trained, and what came of it."""
    return _shown(
        groups,
        {
            "steps": lambda group: _joined(group, "training.steps"),
            "clips per step": lambda group: _joined(group, "config.train.batch_size"),
            "clips seen": lambda group: format_number(clips_seen(group)),
            "learning rate": lambda group: _joined(group, "config.train.lr"),
            "precision": lambda group: _joined(group, "training.precision"),
            "attention": lambda group: _joined(group, "training.attention"),
            "final loss": lambda group: format_number(group.figure("training.loss_final")),
            "time (s)": lambda group: format_number(group.cost("training.wall_s")),
            "runs": lambda group: group.status,
        },
    )


def settings_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the settings in which configurations differ."""
    configs = {group.records[0].group_hash: group.config for group in groups}
    words = distinctions(configs)
    labels = {group.records[0].group_hash: group.label for group in groups}
    rows = [{"configuration": labels[key], "settings": text} for key, text in words.items()]
    return pd.DataFrame(rows, dtype=str) if any(words.values()) else pd.DataFrame()


def runs_table(runs: Sequence[tuple[str, Record]]) -> pd.DataFrame:
    """Return a row a run; one that did not finish says why."""
    rows = []
    for label, record in runs:
        row = {
            "configuration": label,
            "seed": describe(value_at(record.config, "seed")),
            "status": record.status + (f": {record.reason}" if record.reason else ""),
            "final loss": format_number(value_at(record, "training.loss_final")),
        }
        for name, title in METRIC_NAMES.items() if record.quality else ():
            row[f"{title}[{record.detector}]"] = format_number(value_at(record, f"quality.{name}"))
        rows.append(row | {"run": record.run_id})
    return _filled(pd.DataFrame(rows).fillna(""))


def figures_frame(groups: Sequence[Group]) -> pd.DataFrame:
    """Return every figure of every group, unrounded, under the names of `load_records`."""
    return pd.DataFrame([_figures(group) for group in groups])


def _figures(group: Group) -> dict[str, Any]:
    times = {step: group.time(step) for step in STEPS}
    row: dict[str, Any] = {
        "label": group.label,
        "dataset": value_at(group.config, "dataset.name"),
        "preset": group.config.get("preset"),
        "seeds": ", ".join(map(str, group.seeds)),
        "status": group.status,
        "conditions": len(group.conditions),
        "params_m": _times(group.figure("counts.params_total"), 1e-6),
        "gmacs": group.figure("counts.gmacs"),
        "gflops": group.figure("counts.gflops"),
        **{f"{step}_ms": time and time.ms for step, time in times.items()},
        **{f"{step}_waited_share": time and time.waited_share for step, time in times.items()},
        "clips_per_s": group.cost("training.clips_per_s"),
        "peak_rss_mib": group.cost("memory.peak_rss_mib"),
        "peak_allocated_mib": group.cost("memory.peak_allocated_mib"),
        "peak_reserved_mib": group.cost("memory.peak_reserved_mib"),
        "train_steps": group.figure("training.steps"),
        "clips_seen": clips_seen(group),
        "loss_final": group.figure("training.loss_final"),
        "n_real": group.figure("quality.n_real"),
        "n_fake": group.figure("quality.n_fake"),
        **{name: group.figure(MEASURES[name].path) for name in BESIDE_REAL_NAMES},
    }
    scores = (*METRIC_NAMES, "mmd", *RISING_NAMES, *SHARE_NAMES, "density")
    validation = MEASURES[VALIDATION_LOSS]
    estimates = {VALIDATION_LOSS: group.estimate(validation.path)}
    estimates |= {f"{name}_{group.detector}": group.score(name) for name in scores}
    for column, estimate in estimates.items():
        if estimate:
            low, high = estimate.interval or (None, None)
            row |= {column: estimate.mean, f"{column}_sd": estimate.sd, f"{column}_seeds": len(estimate.values)}
            row |= {f"{column}_low": low, f"{column}_high": high, f"{column}_interval_of": estimate.interval_of}
    row |= {f"{name}_{group.detector}": group.figure(f"quality.{name}") for name in REFERENCES if group.detector}
    row |= {"protocol_hash": group.protocol_hash, "validation_hash": group.condition(validation)}
    return row | {"group": group.records[0].group_hash[:12]}


def clips_seen(group: Group) -> float | None:
    """How many clips a configuration was trained on, each time that one was drawn."""
    steps, clips = group.figure("training.steps"), group.figure("config.train.batch_size")
    return None if steps is None or clips is None else steps * clips


def seconds_in_training(group: Group) -> float | None:
    """Seconds that a step took in the training itself, with everything around it."""
    seconds, steps = group.cost("training.wall_s"), group.figure("training.steps")
    return seconds / steps if seconds and steps else None


def describe_seeds(seeds: Sequence[int]) -> str:
    """Say how many seeds there are, and which: `1 (seed 0)`, `3 (seeds 0-2)`."""
    if not seeds:
        return ""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} (seeds {seeds[0]}-{seeds[-1]})"
    return f"{len(seeds)} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))})"


def describe(value: Any) -> str:
    """A plain value as text, nothing for none."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _shown(groups: Sequence[Group], columns: Columns) -> pd.DataFrame:
    rows = [{"configuration": group.label} | {name: cell(group) for name, cell in columns.items()} for group in groups]
    frame = pd.DataFrame(rows, columns=["configuration", *columns], dtype=str)
    return _filled(frame)


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that hold anything."""
    return frame[[name for name in frame if (frame[name] != "").any()]]


def _ranking_metric(groups: Sequence[Group]) -> dict[str, str]:
    """FVD, or KVD where FVD was refused for every run."""
    name = "fvd" if any(group.score("fvd") for group in groups) else "kvd"
    return {name: METRIC_NAMES[name]}


def _score_columns(groups: Sequence[Group], names: Mapping[str, str]) -> Columns:
    """A column for each score and each detector, since scores of two detectors have nothing in common."""
    detectors = sorted({group.detector for group in groups if group.detector})

    def cell(name: str, detector: str) -> Callable[[Group], str]:
        return lambda group: _score(group, name) if group.detector == detector else ""

    columns = {}
    for name, title in names.items():
        for detector in detectors:
            # A share of one detector alone needs no name behind it; a distance without one would be taken for I3D's.
            behind = "" if name in SHARE_NAMES and len(detectors) == 1 else f"[{detector}]"
            columns[title + behind] = cell(name, detector)
    return columns


def _validation_columns(groups: Sequence[Group]) -> Columns:
    """A column for each protocol of validation, since losses of two have nothing in common."""
    measure = MEASURES[VALIDATION_LOSS]

    def cell(protocol: Hashable) -> Callable[[Group], str]:
        return lambda group: (
            _with_interval(group.estimate(measure.path)) if group.condition(measure) == protocol else ""
        )

    protocols = dict.fromkeys(known for group in groups if (known := group.condition(measure)))
    return {measure.title + f" ({str(each)[:8]})" * (len(protocols) > 1): cell(each) for each in protocols}


def _spans(validation: Validation) -> list[tuple[float, float]]:
    """Where each bucket of timesteps begins and ends."""
    return list(pairwise(validation.edges))


def _bucket_cell(span: tuple[float, float]) -> Callable[[Group], str]:
    """The loss of a group in one bucket, the mean over seeds; nothing where it has no such bucket."""

    def cell(group: Group) -> str:
        found = [each.buckets[_spans(each).index(span)] for each in group.values("validation") if span in _spans(each)]
        return format_number(mean(found)) if found else ""

    return cell


def _columns_beside_real(names: Sequence[str]) -> Columns:
    """A column for each of these measures: the mean over seeds, and in brackets the share of real clips."""

    def cell(path: str) -> Callable[[Group], str]:
        section, figure, *rest = path.split(".")
        real = ".".join([section, f"{figure}_real", *rest])
        return lambda group: " ".join(_share(group, path, "{:.2f}") + _share(group, real, "(real {:.2f})"))

    return {MEASURES[name].title: cell(MEASURES[name].path) for name in names}


def _share(group: Group, path: str, text: str) -> list[str]:
    share = group.figure(path)
    return [] if share is None else [text.format(share)]


def _usual(conditions: CostConditions) -> str:
    """The conditions of costs that all were measured under, in a few words."""
    return f"{conditions.precision}, {conditions.device}, {conditions.threads} threads"


def _time_columns(groups: Sequence[Group], steps: Sequence[str], with_conditions: bool = True) -> Columns:
    """A column for each step; where not all are of equally many clips, each cell says of how many."""
    columns: dict[str, Callable[[Group], str]] = {}
    apart = conditions_apart(groups) if with_conditions else {}
    for step in steps:
        sizes = {time.clips for group in groups if (time := group.time(step))}
        of = f", {sizes.pop()} clips" if len(sizes) == 1 else ""

        def cell(group: Group, step: str = step, unlike: bool = not of) -> str:
            if not (time := group.time(step)):
                return ""
            told = [apart.get(each, "") for each in group.conditions]
            remarks = [f"{time.clips} clips" * unlike, "busy" * time.under_load, *told]
            said = ", ".join(filter(None, remarks))
            return format_number(time.ms) + (f" ({said})" if said else "")

        columns[f"{STEPS[step]} (ms{of})"] = cell
    return columns


def _score(group: Group, name: str) -> str:
    """A score of a group; a distance with its interval, a share at two digits."""
    estimate = group.score(name)
    if name in METRIC_NAMES or estimate is None:
        return _with_interval(estimate)
    return f"{estimate.mean:.2f}" if name in SHARE_NAMES else format_number(estimate.mean)


def _with_interval(estimate: Estimate | None) -> str:
    """A mean over seeds with its interval."""
    if estimate is None:
        return ""
    text = format_number(estimate.mean)
    if estimate.interval is None:
        return text
    low, high = map(format_number, estimate.interval)
    return f"{text} [{low}, {high}]" + (OF_ONE_SEED if estimate.interval_of == "clips" else "")


def _references(groups: Sequence[Group], columns: Sequence[str]) -> pd.DataFrame:
    """Rows that FVDs are held against, under each protocol: real clips against real ones, and untrained networks."""
    rows = []
    protocols = list(dict.fromkeys(group.protocol_hash for group in groups if group.protocol_hash))
    for protocol in protocols:
        judged = [group for group in groups if group.protocol_hash == protocol]
        heading, where = f"FVD[{judged[0].detector}]", f" ({protocol[:8]})" if len(protocols) > 1 else ""
        floors = [value for group in judged for value in group.values("quality.fvd_real_vs_real")]
        untrained = [value for group in judged for value in group.values("quality.fvd_untrained")]
        clips = [value for group in judged for value in group.values("quality.n_real_vs_real")]
        if floors and heading in columns:
            rows.append({"configuration": f"real clips, {_span(clips)} against others{where}", heading: _span(floors)})
        if untrained and heading in columns:
            rows.append({"configuration": f"untrained networks{where}", heading: _span(untrained)})
    return pd.DataFrame(rows, columns=list(columns), dtype=str).fillna("")


def _span(values: Sequence[float]) -> str:
    ends = dict.fromkeys(format_number(value) for value in (min(values), max(values))) if values else {"some": None}
    return " to ".join(ends)


def _joined(group: Group, path: str) -> str:
    """The values of a field that ought to be equal in all runs of a group; all of them where they are not."""
    return " / ".join(dict.fromkeys(describe(value) for value in group.values(path)))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _scaled(value: float | None, factor: float) -> str:
    return format_number(_times(value, factor))
