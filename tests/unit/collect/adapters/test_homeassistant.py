"""Reading the wheel: pairs, translations, and archives that are not to be trusted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from polybatch.collect.adapters.homeassistant import (
    HomeAssistant,
    check_members,
    declared_license,
    pair_keys,
    read_strings,
)
from polybatch.core.errors import DataError

ENGLISH = {
    "title": "Lamp",
    "services": {"on": {"name": "Turn on", "description": "Turns on the **lamp** at once."}},
    "config": {
        "step": {
            "user": {
                "data": {"host": "Host"},
                "data_description": {"host": "The host name of your lamp."},
                "title": "Connect {name}",
                "description": "See [%key:common::x%]",
            }
        }
    },
}
GERMAN = {
    "services": {"on": {"name": "Einschalten", "description": "Schaltet die Lampe sofort ein."}},
    "config": {
        "step": {"user": {"data": {"host": "Host"}, "data_description": {"host": "The host name of your lamp."}}}
    },
}


def wheel(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    folder = "homeassistant/components/lamp/translations/"
    return wheel(
        tmp_path / "ha.whl",
        {folder + "en.json": json.dumps(ENGLISH), folder + "de.json": json.dumps(GERMAN), "other/en.json": "{}"},
    )


def test_pairs_are_names_and_labels_with_their_descriptions(lamp: Path) -> None:
    strings = read_strings(lamp, "en")
    texts = {(strings[q], strings[p]) for q, p in pair_keys(strings)}
    assert texts == {("Turn on", "Turns on the lamp at once."), ("Host", "The host name of your lamp.")}


def test_a_passage_left_in_english_is_no_translation(lamp: Path) -> None:
    source = HomeAssistant("ha", lamp)
    english = {p.pair_id: p for p in source.english()}
    german = list(source.translations("de"))
    assert source.languages == ("de",)
    assert [(p.query, english[p.pair_id].query) for p in german] == [("Einschalten", "Turn on")]


def test_another_wheel_than_the_pinned_one_is_refused(lamp: Path) -> None:
    with pytest.raises(DataError, match="not the one that was pinned"):
        HomeAssistant("ha", lamp, "0" * 64)


def test_the_checksum_is_looked_at_before_the_archive(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no archive")
    with pytest.raises(DataError, match="not the one that was pinned"):
        HomeAssistant("ha", tmp_path / "x.whl", "0" * 64)


@pytest.mark.parametrize(
    ("name", "size"),
    [("x.dist-info/METADATA", (1 << 20) + 1), ("homeassistant/components/lamp/translations/en.json", (16 << 20) + 1)],
)
def test_files_that_swell_when_they_are_unpacked_are_refused_unread(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="far larger"):
        HomeAssistant("ha", path)
    with pytest.raises(DataError, match="far larger"):
        declared_license(path) if "METADATA" in name else check_members(path)


def test_the_licence_is_the_one_that_the_wheel_declares(lamp: Path) -> None:
    assert HomeAssistant("ha", lamp).license == "not declared"
    with zipfile.ZipFile(lamp, "a") as archive:
        archive.writestr("x.dist-info/METADATA", "Name: x\nLicense-Expression: Apache-2.0\n\nLicense: no\n")
    assert HomeAssistant("ha", lamp).license == "Apache-2.0"


def test_a_language_that_is_not_there_is_named(lamp: Path) -> None:
    with pytest.raises(DataError, match="no strings in Turkish"):
        read_strings(lamp, "tr")


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of it"):
        check_members(wheel(tmp_path / "x.whl", {name: "x"}))


def test_damaged_archives_are_told_from_missing_ones(tmp_path: Path, lamp: Path) -> None:
    cut = tmp_path / "cut.whl"
    cut.write_bytes(lamp.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged"):
        read_strings(cut, "en")
    with pytest.raises(DataError, match="missing"):
        read_strings(tmp_path / "none.whl", "en")


@pytest.mark.parametrize(("content", "message"), [(b"\xff\xfe", "not UTF-8"), (b"{", "not JSON")])
def test_bad_members_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    name = "homeassistant/components/lamp/translations/en.json"
    with pytest.raises(DataError, match=message) as caught:
        read_strings(wheel(tmp_path / "x.whl", {name: content}), "en")
    assert name in str(caught.value)
