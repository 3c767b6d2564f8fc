"""The result record of a run: its schema, its place on disk, and the statistics of several of them."""

from stbench.records.schema import Record
from stbench.records.store import StoredRecord, find_records, load_records, read_record, write_record

__all__ = ["Record", "StoredRecord", "find_records", "load_records", "read_record", "write_record"]
