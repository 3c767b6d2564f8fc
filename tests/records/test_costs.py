"""The content of costs.json for one variant and for several, and a variant as a flat row."""

from __future__ import annotations

from stbench.records.costs import Ceilings, Profile, Scaling, Utilisation, VariantCost, cost_row
from stbench.records.sections import Cost, Counts, Energy, Machine, Memory, Software, Timing

MACHINE = Machine(cpu="AMD EPYC", cores=2, threads=2, memory_gib=24, os="Linux", fingerprint="ac36b8a25b6a")
SOFTWARE = Software(stbench="0.1.0", python="3.11", torch="2.6")
COUNTS = Counts(params_total=3_000_000, params_trainable=2_000_000, gmacs=2.0, gflops=4.0, gmacs_train_step=6.0)
STEP = Timing(what="train_step", samples=(0.5,), median=0.5, spread=0.0, batch_size=4, clips_per_s=8.0, compile_s=1.0)
CEILINGS = Ceilings(
    device_name="cpu", precision="float32", matmul_gflops_per_s={"float32": 100.0}, copy_gb_per_s=10.0, datasheet="none"
)


def variant(**sections: object) -> VariantCost:
    about = {"variant": {"name": "latte1"}, "input": {"latents": [4, 16, 32, 32]}, "status": "finished"}
    return VariantCost(**{**about, **sections})  # type: ignore[arg-type]  # the sections' own types


COUNTED = variant(cost=Cost(counts=COUNTS))
FAILED = variant(status="oom", reason="CUDA out of memory.")
MEASURED = variant(
    cost=Cost(
        counts=COUNTS,
        timing={"train_step": STEP},
        memory=Memory(peak_rss_mib=500.0, peak_rss_source="VmHWM"),
        energy=Energy(),
    ),
    utilisation={
        "forward": Utilisation(
            model_gflops=1.0,
            gflops_per_s=2.0,
            mfu_of_measured_ceiling=0.5,
            traffic_gb_estimate=3.0,
            flop_per_byte_estimate=4.0,
        ),
        "train_step": Utilisation(model_gflops=1.0, gflops_per_s=2.0, mfu_of_measured_ceiling=0.25),
    },
    scaling=Scaling(axis="batch", points=({"batch": 1},), exponents={"gmacs": None}, formula="y = c x^e"),
)


def test_one_variant_lies_flat_beside_what_it_was_measured_under() -> None:
    profile = Profile(variants=(MEASURED,), ceilings=CEILINGS, machine=MACHINE, software=SOFTWARE).to_json()
    assert list(profile) == [
        *("variant", "input", "status", "reason"),
        *("counts", "conditions", "timing", "memory", "energy", "utilisation", "scaling"),
        *("ceilings", "machine", "software"),
    ]
    assert profile["reason"] is None
    assert profile["memory"]["peak_rss_mib"] == 500.0
    assert profile["energy"] == {"train_step_j": None, "source": None}


def test_several_variants_lie_in_a_list() -> None:
    profile = Profile(variants=(COUNTED, FAILED), machine=MACHINE, software=SOFTWARE).to_json()
    assert list(profile) == ["variants", "machine", "software"]
    assert profile["variants"] == [COUNTED.to_json(), FAILED.to_json()]


def test_sections_that_were_not_measured_are_empty() -> None:
    sections = COUNTED.to_json()
    measured = ["conditions", "timing", "memory", "energy"]
    assert list(sections) == ["variant", "input", "status", "reason", "counts", *measured]
    assert [sections[name] for name in measured] == [{}, {}, {}, {}]


def test_what_failed_has_nothing_but_its_reason() -> None:
    assert FAILED.to_json() == {
        "variant": {"name": "latte1"},
        "input": {"latents": [4, 16, 32, 32]},
        "status": "oom",
        "reason": "CUDA out of memory.",
    }


def test_only_the_forward_pass_has_a_place_on_the_roofline() -> None:
    used = MEASURED.to_json()["utilisation"]
    assert list(used["forward"])[-2:] == ["traffic_gb_estimate", "flop_per_byte_estimate"]
    assert used["train_step"] == {
        "model_gflops": 1.0,
        "gflops_per_s": 2.0,
        "mfu_of_measured_ceiling": 0.25,
        "mfu_of_datasheet": None,
    }


def test_row_of_a_variant() -> None:
    assert cost_row(MEASURED) == {
        "variant": "latte1",
        "status": "finished",
        "reason": None,
        "params_m": 3.0,
        "gmacs": 2.0,
        "gmacs_train_step": 6.0,
        "train_step_ms": 500.0,
        "train_step_compile_s": 1.0,
        "train_clips_per_s": 8.0,
        "peak_mib": 500.0,
        "mfu_of_measured_ceiling": 0.25,
        "mfu_of_datasheet": None,
        "train_step_j": None,
        "largest_batch_size": None,
    }


def test_row_of_a_failure_has_only_its_reason() -> None:
    row = cost_row(FAILED)
    assert {name: value for name, value in row.items() if value is not None} == {
        "variant": "latte1",
        "status": "oom",
        "reason": "CUDA out of memory.",
    }
    assert list(row) == [
        name for name in cost_row(MEASURED) if not name.startswith("train_step_") or name.endswith("_j")
    ]
