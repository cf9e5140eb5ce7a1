"""Which files a study reads, as its config says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.config.paths import record_name
from polybatch.config.study_paths import StudyPaths
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]


def study(name: str = "", **changes: object) -> StudyPaths:
    path = ROOT / (f"workflow/studies/{name}.yaml" if name else "config.yaml")
    return StudyPaths.of(resolve({**yaml.safe_load(path.read_text("utf-8")), **changes}))


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_folder_may_stand_for_the_collection(tmp_path: Path) -> None:
    moved = StudyPaths.of(study().config, tmp_path / "elsewhere")
    assert moved.collected() == f"{tmp_path}/elsewhere/collected/en.parquet"
    assert moved.study == "default"


def test_sources_are_read_from_a_wheel_a_file_and_the_hub(tmp_path: Path) -> None:
    assert study().source_files() == ["results/sources/homeassistant-2026.11.0-py3-none-any.whl"]
    paper = study("paper")
    assert paper.source_file("wikiqa") == paper.hub_record(record_name("source", "wikiqa"))
    validation = paper.validation_source()
    assert validation is not None
    assert validation not in paper.sources()
    assert validation in paper.sources_read()
    assert paper.validation_source_files() == [f"results/paper/collected/sources/{validation}.parquet"]
    (tmp_path / "my own.jsonl").touch()
    own = study(source={"path": str(tmp_path / "my own.jsonl"), "name": "mine"})
    assert own.source_files() == [str(tmp_path / "my own.jsonl")]


def test_passages_are_looked_up_in_collected_sources() -> None:
    paper = study("paper")
    assert paper.mined_passages("wikiqa") == []
    mined = paper.mined_passages("entity-questions")
    assert mined
    assert set(mined) <= {paper.collected_source(name) for name in paper.sources()}


def test_held_out_benchmarks_are_files_and_others_folders() -> None:
    default = study()
    files = default.benchmark_files("test")
    assert files[-1] == default.qrels("test")
    languages = {Path(path).stem for path in files[:-1]}
    assert languages == {"en", "de", "el", "es", "fr", "ru", "tr", "zh"}
    assert len(files) == 2 * len(languages) + 1
    assert study("paper").benchmark_files("xquad-r", "mlqa-r") == [
        "results/paper/benchmarks/xquad-r",
        "results/paper/benchmarks/mlqa-r",
    ]


def test_every_run_has_a_model_and_the_untrained_one_is_its_encoder() -> None:
    default = study()
    models = default.model_folders()
    assert list(models) == [run.name for run in runs(default.config)]
    assert models["e5-small/untrained"] == default.encoder("e5-small")
    assert all(models[run] == default.model(run) for run in models if run != "e5-small/untrained")


def test_projections_of_one_model_share_its_means() -> None:
    entries = [
        {"sampling": "untrained", "projections": ["lir", "lir-r2", "shift", "centring"]},
        {"sampling": "x-y", "seeds": [1], "shares": [0.5]},
    ]
    default = study(study={**study().config["study"], "runs": entries})
    found = {run.projection: default.means_files(run) for run in runs(default.config) if not run.trained}
    passages, queries = (default.language_means("e5-small/untrained", side) for side in ("corpus", "queries"))
    assert found["lir"] == found["lir-r2"] == found["shift"] == [passages]
    assert found["centring"] == [queries, passages]
    assert all(default.means_files(run) == [] for run in runs(default.config) if run.projection == "none")


def test_embedding_jobs_serve_every_benchmark_of_the_study() -> None:
    paper = study("paper")
    jobs = paper.embedding_jobs("labse/untrained")
    assert [job["benchmark"] for job in jobs] == [paper.benchmark(b) for b in paper.config["study"]["benchmarks"]]
    assert [job["output"] for job in jobs] == [
        paper.embeddings("labse/untrained", b) for b in paper.config["study"]["benchmarks"]
    ]
    assert all(job["query_languages"] and job["corpus_languages"] for job in jobs)


def test_a_vocabulary_is_cut_to_all_text_of_the_study_or_waits_for_none() -> None:
    assert study().vocabulary_text("e5-small") == study().vocabulary_files("e5-small") == []
    small = study(encoders={"e5-small": {"options": {"vocabulary": "study"}}})
    [text] = small.vocabulary_text("e5-small")
    assert list(text["training"]) == small.config["languages"]["train"]
    assert text["benchmarks"][0]["corpus_languages"] == small.config["languages"]["evaluate"]
    files = small.vocabulary_files("e5-small")
    assert {*text["training"].values(), text["validation"], *small.benchmark_files("test")} == set(files)


def test_translators_are_folders_trained_ones_or_those_of_the_hub() -> None:
    shipped = "resources/translators/homeassistant-de-es"
    default = study()
    assert default.translator_folder("en-de") == shipped
    assert default.own_translators("de") == [shipped, shipped]
    assert default.translator_strings("homeassistant-de-es") == {
        lang: f"results/homeassistant/strings/{lang}.parquet" for lang in ("de", "es")
    }
    paper = study("paper")
    assert paper.translator_folder("en-de") == paper.translator("facebook--nllb-200-distilled-600M--float16")
    assert paper.own_translators("de") == []
    scaled = study("training_size_beir_mteb")
    derived = next(name for name, entry in scaled.config["benchmarks"].items() if "queries_of" in entry)
    translators = scaled.query_translators(derived)
    assert translators
    assert "en" not in translators


def test_without_decontamination_nothing_is_looked_up() -> None:
    assert study().contaminated_files() == ["results/homeassistant/decontamination/pairs.parquet"]
    without = study(decontamination={"enabled": False})
    assert without.contaminated_files() == without.evaluation_texts() == []


def test_english_comes_with_no_translation() -> None:
    default = study()
    assert list(default.supplied_files()) == ["de", "es", "fr", "tr", "zh"]
    assert list(default.parallel_files()) == ["en", "de", "es", "fr", "tr", "zh"]
    assert list(default.translated_files()) == ["de", "es"]
