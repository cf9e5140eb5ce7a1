"""docs/own-data.md: what its examples show is read as it stands, under the default study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/own-data.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
# What the examples name, with a file that says of a folder what it is.
FILES = ("mine.jsonl", "mine.csv", "english.jsonl", "faq.csv", "tickets.jsonl", "train-v1.1.json")
FOLDERS = {"translators/de": "translator.json", "translators/de-en": "translator.json", "data/support": "corpus.jsonl"}
MODELS = {"models/mine": "config.json"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).write_text("", "utf-8")
    for name, inside in {**FOLDERS, **MODELS}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / inside).write_text("{}", "utf-8")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def under_the_default_study(overlay: dict) -> dict:
    """The default study under an overlay, as Snakemake merges them: mappings in depth, all else replaced."""

    def merged(below: dict, over: dict) -> dict:
        deep = {key for key, value in over.items() if isinstance(value, dict) and isinstance(below.get(key), dict)}
        return {**below, **{key: merged(below[key], over[key]) if key in deep else over[key] for key in over}}

    return merged(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")), overlay)


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
