"""Each adapter's entry reaches the module that reads it, from a folder or from what was fetched."""

from __future__ import annotations

import gzip
import inspect
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hub_cache import HubCache

from polybatch.benchmarks import beir, mteb
from polybatch.benchmarks.adapted import language_files, main, make_benchmark
from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.options import BeirOptions, MtebOptions
from polybatch.core.download import fetch_files
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, sha256_file, write_json
from polybatch.core.options import Options

TEXT = {"en": "Bees make honey. Ants store seeds.", "de": "Bienen machen Honig. Ameisen lagern Samen."}
ANSWER = {"en": "seeds", "de": "Samen"}


def squad(lang: str, *, breaks: bool = True) -> bytes:
    """One question in SQuAD's layout, with LAReQA's sentence breaks or, like MLQA, without."""
    text = TEXT[lang]
    end = text.index(".") + 1
    answer = {"text": ANSWER[lang], "answer_start": text.index(ANSWER[lang])}
    paragraph: dict[str, Any] = {"context": text, "qas": [{"id": "q1", "question": "Who?", "answers": [answer]}]}
    if breaks:
        paragraph |= {"sentence_breaks": [[0, end], [end + 1, len(text)]]}
    return json.dumps({"data": [{"paragraphs": [paragraph]}]}).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """LAReQA's files in a folder, with what else may lie there."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "en.json").write_bytes(squad("en"))
    (folder / "de.json.gz").write_bytes(gzip.compress(squad("de")))
    (folder / "README.json").write_text("{}", "utf-8")
    (folder / "LICENSE").write_text("CC", "utf-8")
    return folder


def record_of(tmp_path: Path, **files: bytes) -> Path:
    """A record as `fetch_files` leaves it: files that are in their place already are only checked."""
    record = tmp_path / "hub" / "benchmark--mine.json"
    entries = {}
    for name, content in files.items():
        lang, _, ending = name.partition("_")
        path = record.with_suffix("") / f"{lang}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        entries[lang] = {"url": f"https://a.org/{lang}.{ending}", "sha256": sha256_file(path)}
    fetch_files(entries, record)
    return record


def made(entry: dict[str, Any], origin: Path, output: Path, languages: str = "en de") -> Any:
    arguments = ["--benchmark", json.dumps(entry), "--origin", str(origin), "--languages", *languages.split()]
    main([*arguments, "--corpus-languages", *languages.split(), "--output", str(output)])
    return load(output, languages.split())


class TestLareqa:
    def test_from_a_folder(self, folder: Path, tmp_path: Path) -> None:
        entry = {"adapter": "lareqa", "license": "CC-BY-SA-4.0", "expected": {"queries": {"en": 1}}}
        benchmark = made(entry, folder, tmp_path / "mine")
        assert benchmark.corpus["de"].texts.to_pylist() == ["Bienen machen Honig.", "Ameisen lagern Samen."]
        assert {(r["query_id"], r["passage_id"]) for r in benchmark.qrels.to_pylist()} == {
            (f"{q}-q1", f"{p}-0.0.1") for q in TEXT for p in TEXT
        }
        card = read_json(tmp_path / "mine/card.json")
        assert (card["license"], card["breaks"]) == ("CC-BY-SA-4.0", "given")

    def test_a_language_whose_file_is_there_twice_is_refused(self, folder: Path) -> None:
        (folder / "en.json.gz").write_bytes(gzip.compress(squad("de")))
        with pytest.raises(DataError, match="there twice") as caught:
            language_files(folder, ["en", "de"])
        assert "en.json and en.json.gz" in str(caught.value)

    def test_from_what_was_fetched(self, tmp_path: Path) -> None:
        record = record_of(tmp_path, en_json=squad("en"), de_json=squad("de"))
        benchmark = made({"adapter": "lareqa", "options": {}}, record, tmp_path / "mine")
        assert len(benchmark.corpus["en"].ids) == 2

    def test_languages_that_are_not_evaluated_are_read_where_they_are_at_hand(
        self, folder: Path, tmp_path: Path
    ) -> None:
        made({"adapter": "lareqa"}, folder, tmp_path / "mine", "en")
        assert (tmp_path / "mine/corpus/de.parquet").exists(), "training text is looked up in it"

    def test_a_corpus_in_other_languages_than_the_queries(self, tmp_path: Path) -> None:
        record = record_of(tmp_path, en_json=squad("en"), de_json=squad("de"))
        make_benchmark({"adapter": "lareqa"}, record, ["de"], ["en"], tmp_path / "mine")
        assert load(tmp_path / "mine", ["de"], ["en"]).queries["de"].ids.to_pylist() == ["de-q1"]

    def test_counts_of_the_published_files_are_met_or_told(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="not the published one") as caught:
            made({"adapter": "lareqa", "expected": "xquad-r"}, folder, tmp_path / "mine")
        assert "en: 1 queries instead of 1190" in str(caught.value)
        assert not (tmp_path / "mine").exists()

    @pytest.mark.parametrize("fetched", [False, True])
    def test_a_language_without_a_file(self, folder: Path, tmp_path: Path, fetched: bool) -> None:
        origin = record_of(tmp_path, en_json=squad("en")) if fetched else folder
        with pytest.raises(DataError, match="no file in el") as caught:
            language_files(origin, ["en", "el"])
        assert "take these languages out of benchmarks.<name>.languages" in str(caught.value)

    def test_a_fetched_file_that_is_gone(self, tmp_path: Path) -> None:
        record = record_of(tmp_path, en_json=squad("en"), de_json=squad("de"))
        (record.with_suffix("") / "de.json").unlink()
        with pytest.raises(DataError, match="no longer there"):
            made({"adapter": "lareqa"}, record, tmp_path / "mine")


class TestMlqa:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        path = tmp_path / "source.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for lang in TEXT:
                archive.writestr(f"MLQA_V1/dev/dev-context-{lang}-question-{lang}.json", squad(lang, breaks=False))
        return path

    @pytest.mark.parametrize("fetched", [False, True])
    def test_sentences_are_split_here_and_one_archive_holds_all_languages(
        self, archive: Path, tmp_path: Path, fetched: bool
    ) -> None:
        if fetched:
            origin = record_of(tmp_path, all_zip=archive.read_bytes())
        else:
            origin = tmp_path / "folder"
            origin.mkdir()
            archive.rename(origin / "MLQA_V1.zip")
        benchmark = made({"adapter": "mlqa"}, origin, tmp_path / "mine")
        assert benchmark.corpus["en"].texts.to_pylist() == ["Bees make honey.", "Ants store seeds."]
        assert read_json(tmp_path / "mine/card.json")["breaks"] == "split"


class TestBeir:
    @pytest.fixture
    def origin(self, tmp_path: Path) -> Path:
        origin = tmp_path / "data"
        for lang, text in TEXT.items():
            (origin / lang).mkdir(parents=True)
            rows = [{"_id": f"p{i}", "text": sentence} for i, sentence in enumerate(text.split(". "))]
            (origin / lang / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
            query = {"_id": "p1", "text": f"{lang}: who?"}
            (origin / lang / "queries.jsonl").write_text(json.dumps(query), "utf-8")
        (origin / "qrels").mkdir()
        (origin / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\np1\tp1\t1\n", "utf-8")
        (origin / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\np1\tp0\t1\n", "utf-8")
        return origin

    def test_a_folder(self, origin: Path, tmp_path: Path) -> None:
        benchmark = made({"adapter": "beir", "path": str(origin)}, origin, tmp_path / "mine")
        assert benchmark.queries["de"].texts.to_pylist() == ["de: who?"]
        assert {r["passage_id"] for r in benchmark.qrels.to_pylist()} == {"en-p1", "de-p1"}
        assert len(benchmark.excluded) == 0

    def test_its_split_and_options(self, origin: Path, tmp_path: Path) -> None:
        entry = {"adapter": "beir", "path": str(origin), "split": "dev", "options": {"exclude_same_ids": True}}
        benchmark = made(entry, origin, tmp_path / "mine")
        assert {r["passage_id"] for r in benchmark.qrels.to_pylist()} == {"en-p0", "de-p0"}
        assert len(benchmark.excluded) > 0, "a passage with the query's id is no answer to it"

    def test_a_missing_language(self, origin: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not hold the languages") as caught:
            made({"adapter": "beir", "path": str(origin)}, origin, tmp_path / "mine", "en el")
        assert "el/" in str(caught.value)

    def test_a_split_that_is_not_there(self, origin: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="judgements of a benchmark are missing") as caught:
            made({"adapter": "beir", "split": "train"}, origin, tmp_path / "mine")
        assert caught.value.found == "the split(s) dev, test"


class TestMteb:
    def test_the_split_and_options_of_the_entry_are_the_module_s(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """mteb's own tasks are made in test_mteb_benchmark.py; here it is only what reaches that module."""
        from polybatch.benchmarks import mteb
        from polybatch.core import hub

        cache = HubCache(tmp_path / "cache")
        snapshot = cache.add("mteb/scifact", {"corpus.jsonl": "{}"}, kind="dataset")
        record = tmp_path / "record.json"
        hub.write_record(record, hub.Snapshot("mteb/scifact", "dataset", "main", snapshot.name, snapshot))
        calls: list[tuple] = []
        monkeypatch.setattr(mteb, "build", lambda *a, **k: calls.append((a, k)))
        entry = {"adapter": "mteb", "task": "SciFact", "split": "train", "options": {"most_absent": 0.5}}
        make_benchmark(entry, record, ["en"], ["en"], tmp_path / "mine")
        [(positional, named)] = calls
        assert (positional[0], positional[1].repo_id, *positional[2:]) == (
            *("SciFact", "mteb/scifact", tmp_path / "mine"),
            *(["en"], ["en"]),
        )
        assert named == {"split": "train", "most_absent": 0.5}


@pytest.mark.parametrize(("build", "options"), [(mteb.build, MtebOptions), (beir.build, BeirOptions)])
def test_what_an_entry_s_options_may_say_is_what_the_builder_takes(build: Any, options: type[Options]) -> None:
    parameters = inspect.signature(build).parameters.values()
    taken = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert taken == {name: options.default_of(name) for name in options.model_fields}


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"files": {}})
    with pytest.raises(DataError, match="no file in en"):
        language_files(tmp_path / "record.json", ["en"])


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "en.json").write_bytes(json.dumps({"data": []}).encode())
    with pytest.raises(DataError, match="name the folder that holds them"):
        make_benchmark({"adapter": "mlqa"}, tmp_path / "en.json", ["en"], ["en"], tmp_path / "bench")
