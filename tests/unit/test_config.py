"""The configuration: every fault at once, in words that help, and the grid that it spells."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from polybatch.config import resolve, runs
from polybatch.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(ROOT)
    return yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))


def faults(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def test_the_default_config_is_sound(config: dict) -> None:
    before = copy.deepcopy(config)
    resolved = resolve(config)
    assert config == before, "resolving must not change what it was given"
    assert resolved["source"]["name"] == resolved["collection"] == "homeassistant"
    assert resolved["translation"]["shards"] == 2


def test_the_grid_of_the_default_study(config: dict) -> None:
    grid = runs(resolve(config))
    names = [run.name for run in grid]
    assert len(names) == len(set(names)) == 12
    assert names[0] == "tiny/untrained"
    assert "tiny/hybrid-a0.5/nall/en+de+es+fr+tr+zh/s3" in names
    assert grid[0].grid["seed"] == -1


def test_all_faults_come_at_once(config: dict) -> None:
    config["studdy"] = {}
    config["study"]["runs"][0]["sampling"] = "xx"
    config["study"]["runs"][4]["alphas"] = [1.5]
    config["languages"]["evaluate"].append("klingon")
    config["training"]["batchsize"] = 3
    config["training"]["learning_rate"] = "fast"
    config["split"]["english_only"] = 2.0
    del config["translation"]["translators"]["en-de"]
    text = faults(config)
    assert "unknown key 'studdy'; did you mean 'study'?" in text
    assert "'xx' is not one of en-en, x-x, x-x-mono, x-y, hybrid" in text
    assert "1.5 is greater than the maximum of 1" in text
    assert "unknown language 'klingon'" in text
    assert "'batchsize'" in text
    assert "learning_rate must be a number" in text
    assert "english_only must be within 0 and 1" in text
    assert "no translator for en-de" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["study"]["runs"].append({"sampling": "hybrid", "seeds": [1]}), "hybrid needs alphas"),
        (lambda c: c["study"]["runs"][0].update(alphas=[0.5]), "alphas belong to hybrid"),
        (lambda c: c["languages"].update(train=["de", "es"]), "must contain 'en'"),
        (lambda c: c["languages"].update(train=["en"]), "needs two training languages"),
        (lambda c: c["languages"].update(evaluate=["en"]), "only the monolingual setting can be scored"),
        (lambda c: c["translation"].update(languages=["el"]), "'el' is not among languages.train"),
        (lambda c: c["study"].update(encoders=["big"]), "'big' is not among encoders (tiny)"),
        (lambda c: c["study"].update(benchmarks=["xquad"]), "'xquad' is not among benchmarks (test, dev)"),
        (lambda c: c.update(source="nowhere"), "'nowhere' is not among sources"),
        (lambda c: c.update(source={"pth": "x"}), "did you mean 'path'?"),
        (lambda c: c["sources"]["homeassistant"].update(sha256="12"), "sources.homeassistant.sha256"),
        (lambda c: c["translation"]["translators"].update({"en-de": {"path": "nowhere"}}), "is no translator folder"),
        (
            lambda c: c["translation"]["translators"].update({"en-de": {"trained": "x"}}),
            "not among translator_training",
        ),
        (lambda c: c.pop("study"), "'study' is a required property"),
    ],
)
def test_one_fault(config: dict, change, message: str) -> None:
    change(config)
    assert message in faults(config)


def test_a_local_file_takes_the_place_of_the_default_source(config: dict) -> None:
    config["source"] = {"path": "data/My.pairs.jsonl", "columns": {"query": "question"}}
    resolved = resolve(config)
    assert resolved["source"]["adapter"] == "local"
    assert resolved["source"]["columns"] == {"query": "question"}
    assert resolved["collection"] == "my", "own data must not share a folder with the default study"
