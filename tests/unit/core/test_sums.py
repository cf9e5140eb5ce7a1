"""The checksums of a folder's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from polybatch.core.errors import DataError
from polybatch.core.sums import SummedFolder, check_sums, read_sums, set_aside, sums_of, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model/1_Pooling").mkdir(parents=True)
    (tmp_path / "model/model.safetensors").write_bytes(bytes(range(256)) * 99)
    (tmp_path / "model/1_Pooling/config.json").write_text("{}", "utf-8")
    (tmp_path / "model/.snakemake_timestamp").touch()
    write_sums(tmp_path / "model")
    return tmp_path / "model"


def test_other_programs_can_check_them_too(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert check_sums(folder) == read_sums(folder)


@pytest.mark.parametrize("change", ["bit", "missing", "added", "grown", "renamed"])
def test_every_change_is_told_with_the_file(folder: Path, change: str) -> None:
    path = folder / "model.safetensors"
    if change == "bit":
        raw = bytearray(path.read_bytes())
        raw[1000] ^= 4
        path.write_bytes(raw)
    elif change == "missing":
        path.unlink()
    elif change == "grown":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        (folder / "added.json").write_text("{}", "utf-8")
    if change == "renamed":
        path.rename(folder / "other.safetensors")
    with pytest.raises(DataError, match=r"safetensors|added\.json"):
        check_sums(folder)
    others = check_sums(folder, lambda name: name.endswith("config.json"))
    assert others is not None and list(others) == ["1_Pooling/config.json"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0123  model.safetensors\n", b"{}"])
def test_damaged_sums_are_told(folder: Path, content: bytes) -> None:
    (folder / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DataError, match="checksums"):
        check_sums(folder)


def test_a_folder_without_sums_cannot_be_checked(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    assert check_sums(folder) is None


def test_files_are_hashed_while_they_are_written(tmp_path: Path) -> None:
    folder = SummedFolder(tmp_path)
    with folder.open("a.npy") as file:
        np.save(file, np.arange(100_000))
    (tmp_path / "b.json").write_text("[]", "utf-8")
    folder.finish()
    assert read_sums(tmp_path) == sums_of(tmp_path)
    assert np.load(tmp_path / "a.npy").sum() == 4_999_950_000


def test_what_is_damaged_is_kept_under_the_next_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        (tmp_path / "v1").mkdir()
        assert set_aside(tmp_path / "v1", "because").name == f"v1.damaged-{number}"
    assert "because" in caplog.text
