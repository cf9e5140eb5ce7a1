"""A translator folder whose card names a family that is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from polybatch.core.errors import ConfigError, DataError
from polybatch.study.resolve import resolve
from polybatch.translation.translator import read_card

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "translator.json").write_text(json.dumps({"directions": ["de-en"], "family": "opus"}), "utf-8")
    return tmp_path


def with_translator(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    config["translation"]["translators"]["de-en"] = {"path": str(folder)}
    return config


def test_the_families_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no known family") as caught:
        read_card(folder)
    assert "marian, m2m100, nllb, mbart, t5" in str(caught.value)
    assert "'opus'" in str(caught.value)
    with pytest.raises(ConfigError, match="the family 'opus' is none of marian, m2m100, nllb, mbart, t5"):
        resolve(with_translator(folder))


def test_a_card_that_is_no_json_is_told_with_the_configuration(folder: Path) -> None:
    (folder / "translator.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match="A JSON file cannot be read"):
        resolve(with_translator(folder))
    (folder / "translator.json").write_text("{}", "utf-8")
    assert resolve(with_translator(folder))
