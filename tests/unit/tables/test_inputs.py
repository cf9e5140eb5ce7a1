"""The files that tables are made from, by the layout: all runs, all languages, and the cards that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.core.errors import DataError
from polybatch.study.resolve import resolve
from polybatch.tables.inputs import main, table_inputs

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(ROOT)
    study = yaml.safe_load((ROOT / "workflow/studies/backtranslation_scaling.yaml").read_text("utf-8"))
    study["study"]["benchmarks"] = ["scifact-x", "fiqa"]
    study["decontamination"] = {"benchmarks": ["quora"]}
    return resolve(study)


def test_every_run_has_its_files(config: dict, tmp_path: Path) -> None:
    inputs = table_inputs(config, tmp_path / "base")
    grid = runs(config)
    scores = [f"{tmp_path}/base/scores/{run.name}/{bench}.parquet" for run in grid for bench in ("scifact-x", "fiqa")]
    assert inputs["scores"] == scores
    assert inputs["per_query"] == [path.replace(".parquet", ".per_query.parquet") for path in scores]
    trained = [f"{tmp_path}/base/models/{run.name}/composition.json" for run in grid if run.trained]
    assert inputs["compositions"] == trained
    assert len(trained) == len(grid) - 1
    assert inputs["translations"] == [
        f"{tmp_path}/base/translated/{lang}.json" for lang in config["translation"]["languages"]
    ]
    records = {Path(path).stem for path in inputs["records"]}
    assert {"source--squadshifts", "encoder--xlm-r", "benchmark--scifact", "benchmark--quora"} <= records


def test_cards_are_those_that_are_there(config: dict, tmp_path: Path) -> None:
    base = tmp_path / "base"
    translator = "facebook--nllb-200-distilled-600M--float16"
    cards = {
        "encoder_cards": ("xlm-r", base / "encoders/xlm-r/encoder.json"),
        "translator_cards": (translator, base / "translators" / translator / "translator.json"),
        "benchmark_cards": ("scifact", base / "benchmarks/scifact/card.json"),
    }
    inputs = table_inputs(config, base)
    assert [inputs[kind] for kind in cards] == [{}, {}, {}]
    for _, path in cards.values():
        path.parent.mkdir(parents=True)
        path.write_text("{}", "utf-8")
    # A card that no config names is left alone.
    (base / "benchmarks/other").mkdir()
    (base / "benchmarks/other/card.json").write_text("{}", "utf-8")
    inputs = table_inputs(config, base)
    assert {kind: inputs[kind] for kind in cards} == {kind: {name: str(path)} for kind, (name, path) in cards.items()}


def test_data_are_the_training_text_and_every_file_of_the_benchmarks(config: dict, tmp_path: Path) -> None:
    base = tmp_path / "base"
    files = ["scifact-x/queries/de.parquet", "scifact/corpus/en.parquet", "quora/qrels.parquet"]
    for name in [*files, "other/qrels.parquet", "scifact/card.json"]:
        (base / "benchmarks" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "benchmarks" / name).touch()
    found = [Path(path).relative_to(base).as_posix() for path in table_inputs(config, base)["data"]]
    parallel = [f"parallel/{lang}.parquet" for lang in config["languages"]["train"]]
    assert found[: 2 + len(parallel)] == ["collected/en.parquet", "validation.parquet", *parallel]
    assert sorted(found[2 + len(parallel) :]) == sorted(f"benchmarks/{name}" for name in files)


def test_trained_and_shipped_translators_both_have_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    study = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    inputs = table_inputs(resolve(study), tmp_path)
    shipped = "resources/translators/homeassistant-de-es"
    assert inputs["translator_cards"] == {shipped: f"{shipped}/translator.json"}
    study["translation"]["translators"] = {
        direction: {"trained": "homeassistant-de-es"} for direction in ("en-de", "de-en", "en-es", "es-en")
    }
    card = tmp_path / "translators/homeassistant-de-es/translator.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}", "utf-8")
    inputs = table_inputs(resolve(study), tmp_path)
    assert inputs["translator_cards"] == {"homeassistant-de-es": str(card)}


def test_translators_whose_folders_have_one_name_both_have_cards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    study = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    for way in ("en-de", "de-en"):
        (tmp_path / way / "ct2").mkdir(parents=True)
        (tmp_path / way / "ct2/translator.json").write_text("{}", "utf-8")
        study["translation"]["translators"][way] = {"path": f"{tmp_path}/{way}/ct2"}
    cards = {f"{tmp_path}/{way}/ct2": f"{tmp_path}/{way}/ct2/translator.json" for way in ("en-de", "de-en")}
    assert cards.items() <= table_inputs(resolve(study), tmp_path)["translator_cards"].items()


def test_held_out_languages_that_another_study_reads_are_not_hashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    study = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    config = resolve(study)
    for lang in ("de", "ko"):
        path = tmp_path / f"benchmarks/test/queries/{lang}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert "ko" not in config["languages"]["evaluate"]
    mine = [path for path in table_inputs(config, tmp_path)["data"] if "/benchmarks/test/" in path]
    assert f"{tmp_path}/benchmarks/test/queries/de.parquet" in mine
    assert not [path for path in mine if path.endswith("ko.parquet")]


def test_translators_of_queries_have_cards_where_no_pair_is_translated(config: dict, tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "workflow/studies/training_size_beir_mteb.yaml").read_text("utf-8"))
    name = "facebook--nllb-200-distilled-600M--float16"
    card = tmp_path / "translators" / name / "translator.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}", "utf-8")
    assert table_inputs(resolve(study), tmp_path)["translator_cards"] == {name: str(card)}


def test_the_command_gives_nothing_where_the_files_are_not_those_of_the_config(config: dict, tmp_path: Path) -> None:
    output = tmp_path / "inputs.json"
    with pytest.raises(DataError, match="missing"):
        main(["--config", json.dumps(config), "--base", str(tmp_path), "--output", str(output)])
    assert not output.exists()
