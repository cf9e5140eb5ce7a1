"""Files that were damaged after they were written: told with the file's name, never read as other data."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polybatch
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, read_parquet, sha256_file, write_json, write_parquet
from polybatch.core.streams import batches

SCHEMA = pa.schema([("pair_id", pa.string()), ("text", pa.string()), ("value", pa.float64())])
FOREIGN = [b"", b"\x00" * 300, b"PAR1", b"\xff\xfe\x00", b'{"a": 1}', b"[1]"]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    draw = random.Random(0)
    rows = [{"pair_id": f"{i:016x}", "text": " ".join(draw.choices("abcdef", k=20)), "value": i / 7} for i in range(99)]
    write_parquet(tmp_path / "a.parquet", [pa.Table.from_pylist(rows, SCHEMA)], SCHEMA)
    return tmp_path / "a.parquet"


def test_a_flipped_bit_is_never_read_as_other_data(parquet: Path) -> None:
    raw, whole = parquet.read_bytes(), pq.read_table(parquet)
    draw = random.Random(1)
    told = 0
    for _ in range(300):
        changed = bytearray(raw)
        changed[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        parquet.write_bytes(changed)
        for read in (
            lambda: read_parquet(parquet, SCHEMA),
            lambda: pa.concat_tables(batches(parquet, SCHEMA)),
        ):
            try:
                assert read().equals(whole)
            except DataError as error:
                told += 1
                assert str(parquet) in str(error)
    assert told > 300


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_parquet_is_told(parquet: Path, content: bytes) -> None:
    parquet.write_bytes(content)
    for read in (lambda: read_parquet(parquet, SCHEMA), lambda: list(batches(parquet, SCHEMA))):
        with pytest.raises(DataError, match=r"a\.parquet"):
            read()


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    for read in (read_json, read_parquet, sha256_file):
        with pytest.raises(DataError, match="snakemake"):
            read(tmp_path)


def test_parquet_is_opened_and_written_in_one_place_alone() -> None:
    package = Path(polybatch.__file__).parent
    opens = re.compile(r"pyarrow\.parquet|\bread_parquet\(.*engine|scan_parquet|to_parquet\(|dataset\(.*parquet")
    found = [path for path in package.rglob("*.py") if opens.search(path.read_text("utf-8"))]
    assert found == [package / "core/files.py"]
    text = found[0].read_text("utf-8")
    assert len(re.findall(r"\bpq\.", text)) == 2 and "write_page_checksum=True" in text
    assert "page_checksum_verification=True" in text


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"b": [1, {"c": None}], "a": "ü", "x": 0.1, "y": {"2": float("inf")}}
    write_json(tmp_path / "a.json", {**value, 3: 4})
    assert read_json(tmp_path / "a.json") == {**value, "3": 4}


def test_a_flipped_bit_of_json_is_told_or_harmless(tmp_path: Path) -> None:
    value = {"accepted": 60, "pairs": 100, "name": "en-de", "share": 0.25, "deep": {"list": [1, 2, 3]}}
    path = tmp_path / "a.json"
    write_json(path, value)
    raw = path.read_bytes()
    for bit in range(0, 8 * len(raw), 3):  # all bytes, and all eight places of a bit
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        try:
            found = read_json(path)
        except DataError as error:
            assert "a.json" in str(error)
        else:  # blanks, or the name of the seal
            assert {name: found[name] for name in value} == value


@pytest.mark.parametrize("content", [*FOREIGN, b'{"a": 1', b"null", b"3", b"[" * 100_000])
def test_json_of_another_shape_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")["corpus"]["en"]


def test_a_list_can_be_asked_for(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", ["x"])
    assert read_json(tmp_path / "a.json", list) == ["x"]
    with pytest.raises(DataError, match="expected: an object"):
        read_json(tmp_path / "a.json")
