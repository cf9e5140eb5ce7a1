"""Records of what a file was made from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from polybatch.core import made_from
from polybatch.core.files import read_parquet, sha256_file, write_json, write_rows
from polybatch.core.options import Options
from polybatch.core.sums import SUMS, write_sums

SCHEMA = pa.schema([("a", pa.int64())])


def test_a_record_travels_with_parquet_and_json(tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    source.write_text("{}\n", "utf-8")
    record = made_from.record({"beam_size": 4}, file=source, shards=[source], by_lang={"de": source}, none=None)
    digest = sha256_file(source)
    assert record["inputs"] == {"file": digest, "shards": [digest], "by_lang": {"de": digest}, "none": None}
    schema = made_from.with_record(SCHEMA.with_metadata({"kept": "yes"}), record)
    write_rows(tmp_path / "a.parquet", [{"a": 1}], schema)
    assert made_from.read_record(tmp_path / "a.parquet") == record
    assert read_parquet(tmp_path / "a.parquet", SCHEMA).to_pylist() == [{"a": 1}]
    write_json(tmp_path / "a.json", {"made_from": record})
    assert made_from.read_record(tmp_path / "a.json") == record
    write_rows(tmp_path / "a.parquet", [{"a": 1}], SCHEMA)
    assert made_from.read_record(tmp_path / "a.parquet") is None


def test_the_digest_of_a_folder_is_that_of_its_checksums(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"1")
    without = made_from.digest(tmp_path)
    write_sums(tmp_path)
    assert made_from.digest(tmp_path) == without == sha256_file(tmp_path / SUMS)
    (tmp_path / SUMS).unlink()
    (tmp_path / "model.bin").write_bytes(b"2")
    assert made_from.digest(tmp_path) != without


def test_options_remember_what_they_were_given() -> None:
    class Some(Options):
        beam_size: int = 4
        threads: int = 1

    assert Some.from_json("{}").given() == {}
    assert Some.from_json('{"beam_size": 4}').given() == {"beam_size": 4}
