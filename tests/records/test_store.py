"""Records on disk: found wherever they lie, and flat in one table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stbench.errors import StbenchError
from stbench.records.schema import Record
from stbench.records.store import FoundRecords, StoredRecord, find_records, load_records, read_record


@pytest.fixture
def record(content: dict[str, Any]) -> Record:
    return Record.from_json(content)


def write_record(record: Record, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(json.dumps(record.to_json()), encoding="utf-8")
    return path


def test_a_record_is_read_from_its_folder_or_file(record: Record, tmp_path: Path) -> None:
    path = write_record(record, tmp_path / "run")
    assert read_record(path) == read_record(path.parent) == record


def test_half_written_file_is_not_read(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "done")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".result.json.123.tmp").write_text('{"schema": 1, "run')
    assert [stored.run_dir.name for stored in find_records([tmp_path]).stored] == ["done"]


def test_find_records_in_run_folders_files_and_folders_of_files(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "runs" / "a")
    write_record(replace(record, run_id="b"), tmp_path / "runs" / "deep" / "b")
    flat = tmp_path / "reference" / "machine"
    flat.mkdir(parents=True)
    (flat / "latte1.json").write_text(json.dumps(record.to_json()))
    run = tmp_path / "runs" / "a"
    assert [stored.run_dir.name for stored in find_records([tmp_path / "runs"]).stored] == ["a", "b"]
    assert [stored.run_dir for stored in find_records([tmp_path / "reference"]).stored] == [flat]
    assert find_records([run, run / "result.json"]) == FoundRecords([StoredRecord(record, run)], {}, [])


DAMAGES = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"\xff{}", "not valid JSON"),
    (b"[" * 10**5, "not valid JSON: nested too deeply"),
    (b'{"schema": 7}', "schema: version 7"),
    (b"[]", "must be a JSON object, got list"),
]


@pytest.mark.parametrize(("text", "message"), DAMAGES)
def test_a_damaged_record_is_an_error_where_it_is_asked_for(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "result.json").write_bytes(text)
    for path in (tmp_path, tmp_path / "result.json"):
        with pytest.raises(StbenchError, match=message) as error:
            find_records([path])
        assert str(tmp_path / "result.json") in str(error.value)


@pytest.mark.parametrize(("text", "message"), DAMAGES)
@pytest.mark.parametrize("layout", ["{}/result.json", "{}.json"])
def test_a_damaged_record_does_not_hide_the_others(
    record: Record, tmp_path: Path, layout: str, text: bytes, message: str
) -> None:
    whole, damaged = (tmp_path / layout.format(name) for name in ("whole", "damaged"))
    write_record(record, whole.parent).rename(whole)
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(text)
    found = find_records([tmp_path])
    assert [each.record for each in found.stored] == [record]
    assert list(found.unreadable) == [damaged] and message in found.unreadable[damaged]
    lost = load_records(tmp_path).iloc[1]
    assert (lost["status"], lost["run_dir"]) == ("unreadable", str(damaged.parent))
    assert message in lost["reason"]


def test_where_nothing_can_be_read_the_first_reason_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{")
    with pytest.raises(StbenchError, match=r"a/result\.json: not valid JSON"):
        find_records([tmp_path])


def test_a_copied_run_is_one_run(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "a")
    write_record(record, tmp_path / "copy of a")
    again = replace(record, created="2026-01-03T03:04:05Z")  # a repetition
    write_record(again, tmp_path / "b")
    found = find_records([tmp_path])
    assert [each.record for each in found.stored] == [record, again]
    assert found.copies == [tmp_path / "copy of a"]


def test_a_run_without_a_record_has_none(record: Record, tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    for name in ("config.json", "cost.json"):
        (tmp_path / "killed" / name).write_text("{}")
    with pytest.raises(StbenchError, match="holds no record"):
        find_records([tmp_path])


def test_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="holds no record"):
        find_records([tmp_path])
    with pytest.raises(StbenchError, match="not found"):
        find_records([tmp_path / "nowhere"])


def test_file_stays_in_the_run_folder(record: Record, tmp_path: Path) -> None:
    stored = StoredRecord(record, tmp_path / "run")
    stored.run_dir.mkdir()
    (stored.run_dir / "loss.csv").touch()
    (tmp_path / "secret.csv").touch()
    assert stored.file("loss.csv") == stored.run_dir / "loss.csv"
    assert stored.file("other.csv") is None
    assert stored.file(None) is None
    with pytest.raises(StbenchError, match="lies outside the run folder"):
        stored.file("../secret.csv")


def test_table_has_one_row_a_run_and_units_in_its_names(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "a")
    table = load_records(tmp_path)
    row = table.iloc[0]
    assert len(table) == 1
    assert (row["variant"], row["dataset"], row["seed"]) == ("latte1", "shapes", 0)
    assert (row["params_m"], row["gmacs"], row["fvd_shapes3d"]) == (2, 1.5, 100)
    assert (row["forward_ms"], row["forward_ms_iqr"], row["peak_rss_mib"]) == (2000, 1000, 500)
    assert row["run_dir"] == str(tmp_path / "a")
    assert (row["train.lr"], row["variant.size"], row["precision"]) == (1e-3, "S", "auto")
    assert (row["conditions.precision"], row["conditions.threads"], row["training.device"]) == ("float32", 2, "cpu")
    assert row["dataset.motions"] == '["left", "right"]'
    assert table.columns.is_unique
    assert not [name for name in table.columns if "flops" in name.lower() and name != "gflops"]


def test_two_detectors_never_share_a_column(content: dict[str, Any], tmp_path: Path) -> None:
    write_record(Record.from_json(content), tmp_path / "a")
    content["quality"] |= {"detector": "i3d", "fvd": 7.0}
    write_record(Record.from_json(content), tmp_path / "b")
    table = load_records(tmp_path)
    assert "fvd" not in table.columns
    assert table["fvd_shapes3d"].tolist()[0] == 100 and pd.isna(table["fvd_shapes3d"][1])
    assert table["fvd_i3d"].tolist()[1] == 7 and pd.isna(table["fvd_i3d"][0])


def test_intervals_and_references_stand_beside_their_score(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"] |= {"fvd_interval": [90.0, 120.0], "fvd_untrained": 900.0, "fvd_real_vs_real": 2.0}
    write_record(Record.from_json(content), tmp_path)
    row = load_records(tmp_path).iloc[0]
    assert (row["fvd_shapes3d_low"], row["fvd_shapes3d"], row["fvd_shapes3d_high"]) == (90, 100, 120)
    assert (row["fvd_untrained_shapes3d"], row["fvd_real_vs_real_shapes3d"]) == (900, 2)
    assert pd.isna(row["kvd_shapes3d_low"])


def test_failed_run_is_a_row(content: dict[str, Any], tmp_path: Path) -> None:
    sections = dict.fromkeys(("counts", "memory", "training", "quality"))
    content |= {"status": "failed", "reason": "no data", "timing": {}, "files": {}, **sections}
    write_record(Record.from_json(content), tmp_path)
    row = load_records(tmp_path).iloc[0]
    assert (row["status"], row["reason"]) == ("failed", "no data")
    assert pd.isna(row["params_m"])


def test_the_group_of_a_row_is_the_record_s(content: dict[str, Any], tmp_path: Path) -> None:
    for seed in (0, 1):
        content |= {"config": {**content["config"], "seed": seed, "device": f"cuda:{seed}"}}
        write_record(Record.from_json(content), tmp_path / str(seed))
    write_record(Record.from_json(content | {"group_hash": "another"}), tmp_path / "2")
    assert load_records(tmp_path)["group"].tolist() == ["beefbeefbeef", "beefbeefbeef", "another"]
