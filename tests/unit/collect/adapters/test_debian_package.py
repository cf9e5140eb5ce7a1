"""Debian packages are read whole or refused, whatever stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_packages import ar, package, tar

from polybatch.collect.adapters import debian_package
from polybatch.collect.adapters.debian_package import control, data_files
from polybatch.core.errors import DataError

FIELDS = "Package: x\nVersion: 1:2-3\nDescription: of it\n more: of it\n"
LARGE = bytes(range(256)) * 4_000


def read(path: Path, **options: int) -> dict[str, bytes]:
    return dict(data_files(path, lambda name: True, **options))


@pytest.mark.parametrize("ending", [".xz", ".gz", ".zst", ""])
def test_every_compression_gives_the_same_files(tmp_path: Path, ending: str) -> None:
    path = package(tmp_path / "x.deb", FIELDS, {"./usr/a": b"1", "./usr/b": LARGE, "./usr/link": "/etc/passwd"}, ending)
    assert read(path) == {"usr/a": b"1", "usr/b": LARGE}
    assert control(path) == {"Package": "x", "Version": "1:2-3", "Description": "of it"}


@pytest.mark.parametrize("ending", [".xz", ".gz", ".zst", ""])
def test_a_package_that_is_cut_off_anywhere_is_refused(tmp_path: Path, ending: str) -> None:
    whole = package(tmp_path / "x.deb", FIELDS, {"./usr/b": LARGE}, ending).read_bytes()
    for length in (0, 4, 100, 300, len(whole) // 2, len(whole) - 20, len(whole) - 2):
        (tmp_path / "cut.deb").write_bytes(whole[:length])
        with pytest.raises(DataError, match="damaged"):
            read(tmp_path / "cut.deb")
    with pytest.raises(DataError, match="missing"):
        read(tmp_path / "none.deb")


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    path = package(tmp_path / "x.deb", FIELDS, {"./usr/b": LARGE})
    content = bytearray(path.read_bytes())
    content[-200] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "./a/../../evil", "C:/evil", "..\\evil"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of it"):
        read(package(tmp_path / "x.deb", FIELDS, {name: b"x"}))


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path / "x.deb", FIELDS, {"./zeros": bytes(8 << 20)})
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to far more"):
        read(path, most_unpacked=1 << 20)
    assert next(data_files(package(tmp_path / "y.deb", FIELDS, {"./a": b"1"}), lambda n: True)) == ("a", b"1")
    monkeypatch.setattr(debian_package, "MOST_OF_FILE", 1 << 20)
    with pytest.raises(DataError, match="far larger than any real one"):
        read(path)
    # What is not asked for may be large.
    assert not list(data_files(path, lambda name: False))


def test_other_archives_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a way that is not read"):
        read(package(tmp_path / "x.deb", FIELDS, {"./a": b"1"}, ".bz2"))
    (tmp_path / "y.deb").write_bytes(ar({"debian-binary": b"2.0\n"}))
    with pytest.raises(DataError, match="damaged") as caught:
        read(tmp_path / "y.deb")
    assert "holds no data.tar" in str(caught.value)
    (tmp_path / "z.deb").write_bytes(ar({"debian-binary": b"2.0\n", "control.tar": tar({"./other": b""})}))
    with pytest.raises(DataError, match="no control file"):
        control(tmp_path / "z.deb")
