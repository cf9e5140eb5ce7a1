"""docs/own-data.md: what its examples show is read as it stands, under the default study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from page_examples import EXAMPLES, lay_out, under_the_default_study

from polybatch.config.grid import runs
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/own-data.md").read_text("utf-8")
BLOCKS = [example.text for example in EXAMPLES if example.page == "docs/own-data.md"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_an_example_is_a_sound_study_of_its_own(block: str):
    config = resolve(under_the_default_study(yaml.safe_load(block)))
    assert runs(config)
    # Tables of one's own study stand beside the default study's, not among its versions.
    assert config["study"]["name"] != "default" or not {"study", "source"} & yaml.safe_load(block).keys()
    assert set(yaml.safe_load(block).get("encoders", {})) <= set(config["study"]["encoders"])


def test_the_five_lines_are_what_the_columns_are_called():
    rows = [json.loads(line) for line in PAGE.split("### Five lines")[1].split("```")[1].strip().splitlines()]
    assert len(rows) == 5
    assert all(row.keys() == {"group", "lang", "query", "passage"} for row in rows)


def test_a_language_that_is_only_evaluated_is_never_trained_on_nor_translated():
    (block,) = (block for block in BLOCKS if "# fr: evaluated alone" in block)
    config = resolve(under_the_default_study(yaml.safe_load(block)))
    assert len(config["languages"]["evaluate"]) == 4
    assert "fr" not in [*config["languages"]["train"], *config["translation"]["languages"]]
