"""Converted texts that were damaged between two trainings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from parallel_files import parallel_row, write_parallel

from polybatch.core.errors import DataError
from polybatch.core.streams import id_keys
from polybatch.pairs.text_store import open_texts

FILES = ("texts.arrow", "ids.npy", "query_key.npy", "sources.json", "SHA256SUMS")


@pytest.fixture
def parallel(tmp_path: Path) -> Path:
    rows = [parallel_row(n, f"question {n}", f"answer {n}") for n in range(40)]
    return write_parallel(tmp_path / "de.parquet", rows)


def texts(parallel: Path) -> list[str]:
    found = open_texts(parallel, parallel.parent / "texts", keyed=True)
    assert found.ids.tolist() == id_keys([f"{n:016x}" for n in range(40)]).tolist()
    return [found.text(column, row) for row in range(len(found)) for column in ("query", "passage")]


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 2
    path.write_bytes(raw)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flipped, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damaged_texts_are_set_aside_and_made_again(parallel: Path, name: str, damage, caplog) -> None:
    before = texts(parallel)
    (folder,) = (path for path in (parallel.parent / "texts").iterdir() if path.is_dir())
    damage(folder / name)
    assert texts(parallel) == before
    assert folder.with_name(f"{folder.name}.damaged-1").is_dir()
    assert "made again" in caplog.text


def test_whole_texts_are_kept(parallel: Path) -> None:
    before = texts(parallel)
    (folder,) = (path for path in (parallel.parent / "texts").iterdir() if path.is_dir())
    os.utime(folder / "texts.arrow", ns=(1, 1))
    assert texts(parallel) == before
    assert (folder / "texts.arrow").stat().st_mtime_ns == 1


def test_a_file_in_the_place_of_the_folder_goes_too(parallel: Path) -> None:
    before = texts(parallel)
    (folder,) = (path for path in (parallel.parent / "texts").iterdir() if path.is_dir())
    shutil.rmtree(folder)
    folder.write_text("x", "utf-8")
    assert texts(parallel) == before


def test_a_damaged_parallel_file_is_told(parallel: Path) -> None:
    parallel.write_bytes(parallel.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"de\.parquet"):
        texts(parallel)
