"""Help is fetched by apt once, or taken from where a user put it; what cannot be had is told with its remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_packages import help_package, page

from polybatch.collect.adapters.libreoffice import LibreOffice
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, sha256_file
from polybatch.prefetch.fetch_help import fetch_help, main

BODIES = {"a.html": '<h1 id="hd_id1">Saving</h1><p id="par_id1">Choose File and then choose Save.</p>'}


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that has help in English and German, whose programs stand alone on the PATH."""
    programs, distribution = tmp_path / "bin", tmp_path / "distribution"
    programs.mkdir()
    for lang in ("en", "de"):
        help_package(distribution, lang, BODIES)
    scripts = {
        "apt-get": f'for f in {distribution}/"$3"_*.deb; do {shutil.which("cp")} "$f" . || exit 100; done',
        "apt-cache": "printf 'libreoffice-help-%s\\n' en-us de zu",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!{shutil.which('sh')}\n{script}\n", "utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return distribution


def test_a_package_is_fetched_once_and_recorded(apt: Path, tmp_path: Path) -> None:
    packages, record = tmp_path / "packages", tmp_path / "de.json"
    main(["--lang", "de", "--packages", str(packages), "--record", str(record)])
    entry = read_json(record)
    (path,) = packages.glob("*.deb")
    assert (entry["package"], entry["version"], entry["architecture"]) == ("libreoffice-help-de", "4:7.4.7-1", "all")
    assert (entry["path"], entry["sha256"], entry["pages"]) == (str(path), sha256_file(path), 1)
    assert entry["size"] == path.stat().st_size
    assert "License: MPL-2.0" in entry["copyright"]["head"]
    help_package(apt, "de", {**BODIES, "b.html": ""})  # the distribution goes on
    fetch_help("de", packages, record)
    assert read_json(record) == entry
    path.write_bytes(path.read_bytes()[:-9])
    fetch_help("de", packages, record)
    assert read_json(record)["pages"] == 2, "a damaged package is fetched again"


def test_a_language_without_a_package_names_those_that_have_one(apt: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no help in Turkish") as caught:
        fetch_help("tr", tmp_path / "packages", tmp_path / "tr.json")
    assert "help in de en" in str(caught.value)
    with pytest.raises(DataError, match="no help in Thai"):
        fetch_help("th", tmp_path / "packages", tmp_path / "th.json")
    assert not [*tmp_path.glob("*.json"), *(tmp_path / "packages").glob("*.deb")]


def test_no_apt_and_no_network_are_told_with_what_to_do(
    apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in apt.glob("*.deb"):
        package.unlink()
    with pytest.raises(DataError, match="could not download libreoffice-help-de") as caught:
        fetch_help("de", tmp_path / "packages", tmp_path / "de.json")
    assert "check the network" in str(caught.value)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="not on this machine") as caught:
        fetch_help("de", tmp_path / "packages", tmp_path / "de.json")
    assert f"put it into {tmp_path / 'packages'}" in str(caught.value)
    # As it says.
    help_package(tmp_path / "packages", "de", BODIES)
    fetch_help("de", tmp_path / "packages", tmp_path / "de.json")
    assert read_json(tmp_path / "de.json")["pages"] == 1


@pytest.mark.parametrize("layout", ["en-US/text", "help/en-US/text", "usr/share/libreoffice/help/en-US/text"])
def test_an_unpacked_package_is_as_good(tmp_path: Path, layout: str) -> None:
    place = tmp_path / "mine" / layout / "swriter"
    place.mkdir(parents=True)
    (place / "a.html").write_bytes(page(BODIES["a.html"]))
    fetch_help("en", tmp_path, tmp_path / "en.json", tmp_path / "mine")
    spec = {"name": "help", "adapter": "libreoffice", "min_words": 1}
    assert [pair.query for pair in LibreOffice(spec, tmp_path / "en.json").english()] == ["Saving"]
    (place / "a.html").write_bytes(page("Another"))
    with pytest.raises(DataError, match="not as it was fetched"):
        LibreOffice(spec, tmp_path / "en.json")


def test_a_folder_that_does_not_hold_the_help_says_what_it_holds(tmp_path: Path) -> None:
    mine, record = tmp_path / "mine", tmp_path / "de.json"
    with pytest.raises(DataError, match="no folder"):
        fetch_help("de", tmp_path, record, mine)
    help_package(mine, "pt", BODIES)
    with pytest.raises(DataError, match="holds no help in German") as caught:
        fetch_help("de", tmp_path, record, mine)
    assert "help in pt" in str(caught.value)
    english = help_package(mine, "en", BODIES)
    english.rename(mine / "libreoffice-help-de_1_all.deb")
    with pytest.raises(DataError, match="another than its name says"):
        fetch_help("de", tmp_path, record, mine)
    help_package(mine, "de", BODIES)
    with pytest.raises(DataError, match="several versions"):
        fetch_help("de", tmp_path, record, mine)
    help_package(tmp_path / "empty", "de", {})
    with pytest.raises(DataError, match="holds no page of help in German"):
        fetch_help("de", tmp_path, record, tmp_path / "empty")
