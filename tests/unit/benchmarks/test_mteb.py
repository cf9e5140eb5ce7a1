"""mteb's tasks become benchmarks: subsets joined where they are one, refused where they are not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standins"))

import benchmarks as standins
from hub_cache import HubCache

from polybatch.benchmarks.benchmark import Benchmark, load
from polybatch.benchmarks.mteb import build, expected_size, task_repo
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.hub import Snapshot

Make = Callable[..., Snapshot]


@pytest.fixture
def snapshot(tmp_path: Path) -> Make:
    """Lays a task's stand-in out; `files` replace some of the repository's."""

    def make(task: str, **files: str) -> Snapshot:
        cache = HubCache(tmp_path / "hub")
        folder = standins.add_task(cache, task, {})
        repo, revision, patterns = task_repo(task)
        assert patterns == ()
        cache.add(repo, files, kind="dataset", commit=revision)
        return Snapshot(repo, "dataset", revision, folder.name, folder)

    return make


def relevant_texts(benchmark: Benchmark) -> dict[str, set[str]]:
    """Query id -> its relevant passages."""
    texts: dict[str, str] = {}
    for side in benchmark.corpus.values():
        texts.update(zip(side.ids.to_pylist(), side.texts.to_pylist(), strict=True))
    found: dict[str, set[str]] = {}
    for row in benchmark.qrels.to_pylist():
        found.setdefault(row["query_id"], set()).add(texts[row["passage_id"]])
    return found


def test_a_task_is_read_and_leaves_a_card(snapshot: Make, tmp_path: Path) -> None:
    build("SciFact", snapshot("SciFact"), tmp_path / "scifact", ["en"])
    card = json.loads((tmp_path / "scifact" / "card.json").read_text())
    assert (card["split"], card["queries"], card["passages"]) == ("test", {"en": 12}, {"en": 36})
    assert card["data_set"]["commit"] == task_repo("SciFact")[1]
    benchmark = load(tmp_path / "scifact", ["en"])
    assert "of-train" not in benchmark.queries["en"].ids.to_pylist()
    title, untitled = benchmark.corpus["en"].texts[0].as_py(), benchmark.corpus["en"].texts[7].as_py()
    assert len(title.split()) == 14
    assert len(untitled.split()) == 11
    assert not list(tmp_path.glob(".*.partial"))


def test_belebeles_languages_are_joined_by_what_the_rows_say(snapshot: Make, tmp_path: Path) -> None:
    """mteb numbers texts anew in each language, and German rows stand in another order."""
    card = build("BelebeleRetrieval", snapshot("BelebeleRetrieval"), tmp_path / "b", ["en", "de", "zh"])
    assert len(card["subsets"]) == 7
    benchmark = load(tmp_path / "b", ["en", "de", "zh"])
    groups = [dict(zip(s.groups.to_pylist(), s.ids.to_pylist(), strict=True)) for s in benchmark.corpus.values()]
    assert groups[0].keys() == groups[1].keys() == groups[2].keys()
    found = relevant_texts(benchmark)
    assert {len(texts) for texts in found.values()} == {3, 6}  # mteb has no subset from German to Chinese
    twice = [i for i, texts in found.items() if len(texts) == 6]
    assert [i[:3] for i in twice] == ["en-"]
    queries = benchmark.queries["en"]
    assert queries.groups[queries.ids.index(twice[0]).as_py()].as_py() == ""


def test_belebele_across_two_languages_alone(snapshot: Make, tmp_path: Path) -> None:
    card = build("BelebeleRetrieval", snapshot("BelebeleRetrieval"), tmp_path / "b", ["de"], ["en"])
    assert card["subsets"] == ["eng_Latn-deu_Latn"]  # mteb names the passages' language first
    benchmark = load(tmp_path / "b", ["de"], ["en"])
    assert benchmark.qrels.num_rows == 24


def test_shared_ids_join_translations_where_the_judgements_agree(snapshot: Make, tmp_path: Path) -> None:
    data = snapshot("MuPLeR-retrieval")
    build("MuPLeR-retrieval", data, tmp_path / "b", ["en", "el"])
    assert {len(texts) for texts in relevant_texts(load(tmp_path / "b", ["en", "el"])).values()} == {2}
    build("MuPLeR-retrieval", data, tmp_path / "b", ["en", "el"], parallel="none")
    assert load(tmp_path / "b", ["en", "el"]).qrels.num_rows == 24


def test_ids_that_disagree_name_no_translations(snapshot: Make, tmp_path: Path) -> None:
    data = snapshot("MIRACLRetrieval")
    with pytest.raises(DataError, match="Equal ids do not name translations"):
        path = data.folder / "ar-qrels" / "dev-00000-of-00001.parquet"
        rows = [{"query-id": "1", "corpus-id": "1000#0", "score": 1}]
        path.unlink()
        path.write_bytes(standins._parquet(rows))
        build("MIRACLRetrieval", data, tmp_path / "b", ["ar", "sw"], parallel="ids")


def test_languages_have_their_own_ids(snapshot: Make, tmp_path: Path) -> None:
    build("MIRACLRetrieval", snapshot("MIRACLRetrieval"), tmp_path / "b", ["ar", "sw"])
    benchmark = load(tmp_path / "b", ["ar", "sw"])
    assert benchmark.queries["sw"].ids[0].as_py() == "sw-0"
    assert all(row["query_id"][:2] == row["passage_id"][:2] for row in benchmark.qrels.to_pylist())


def test_a_query_that_stands_in_the_corpus_is_excluded_and_a_missing_passage_told(
    snapshot: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = build("ArguAna", snapshot("ArguAna"), tmp_path / "b", ["en"])
    assert (card["excluded_pairs"], card["absent_passages"]) == (12, 1)
    assert "arg-gone" in caplog.text
    excluded = load(tmp_path / "b", ["en"]).excluded.to_pylist()
    assert all(row["query_id"] == row["passage_id"] for row in excluded)


def test_judgements_of_another_corpus_are_refused(snapshot: Make, tmp_path: Path) -> None:
    lines = [json.dumps({"query-id": f"q{i}", "corpus-id": f"x{i}", "score": 1}) for i in range(3)]
    data = snapshot("SciFact", **{"qrels/test.jsonl": "\n".join(lines)})
    with pytest.raises(DataError, match="3 of 3: x0, x1, x2"):
        build("SciFact", data, tmp_path / "b", ["en"])


def test_a_data_set_without_judgements_is_told(snapshot: Make, tmp_path: Path) -> None:
    readme = standins._readme({"corpus": {"corpus": "corpus.jsonl"}, "queries": {"queries": "queries.jsonl"}})
    with pytest.raises(DataError, match=r"cannot read the data set of its task SciFact") as error:
        build("SciFact", snapshot("SciFact", **{"README.md": readme}), tmp_path / "b", ["en"])
    assert "qrels" in str(error.value)
    nothing = json.dumps({"query-id": "q0", "corpus-id": "sci-0", "score": 0})
    with pytest.raises(DataError, match="has no relevant passage"):
        build("NFCorpus", snapshot("NFCorpus", **{"qrels/test.jsonl": nothing}), tmp_path / "b", ["en"])


def test_another_corpus_for_another_language_of_queries_is_no_one_benchmark(snapshot: Make, tmp_path: Path) -> None:
    data = snapshot("MKQARetrieval")
    repo, revision, _ = task_repo("MLQARetrieval")
    files, configs = {}, {}
    for subset in ("eng-eng", "eng-deu", "deu-eng", "deu-deu"):
        for part in ("corpus", "queries", "qrels"):
            source = data.folder / f"{'en' if subset[4:] == 'eng' else 'de'}-{part}" / "train-00000-of-00001.parquet"
            files[f"{subset}-{part}/test-0.parquet"] = source
            configs[f"{subset}-{part}"] = {"test": f"{subset}-{part}/test-*"}
    files["README.md"] = standins._readme(configs)
    folder = HubCache(tmp_path / "hub").add(repo, files, kind="dataset", commit=revision)
    mlqa = Snapshot(repo, "dataset", revision, revision, folder)
    with pytest.raises(DataError, match="have other passages in the same language") as error:
        build("MLQARetrieval", mlqa, tmp_path / "b", ["en", "de"])
    assert "corpus in " in str(error.value)
    card = build("MLQARetrieval", mlqa, tmp_path / "b", ["de"], ["en"])
    assert (card["subsets"], card["split"]) == (["eng-deu"], "test")


@pytest.mark.parametrize(
    ("task", "languages", "options", "words"),
    [
        ("SciFacts", ["en"], {}, "names like it: SciFact"),
        ("STS12", ["en"], {}, "is no retrieval task"),
        ("CQADupstackRetrieval", ["en"], {}, "CQADupstackAndroidRetrieval"),
        ("AskUbuntuDupQuestions", ["en"], {}, "is no retrieval task"),
        ("SciFact", ["de"], {}, "lacks de"),
        ("MIRACLRetrieval", ["en", "tr"], {}, "lacks tr"),
        ("BelebeleRetrieval", ["xx"], {}, "Unknown language 'xx'"),
        ("SciFact", ["en"], {"split": "train"}, "other splits"),
    ],
)
def test_what_mteb_does_not_have_is_told(tmp_path: Path, task: str, languages: list, options: dict, words: str) -> None:
    data = Snapshot("mteb/belebele" if task.startswith("Bele") else task, "dataset", "", "0" * 40, tmp_path)
    if task in ("SciFact", "MIRACLRetrieval"):
        repo, revision, _ = task_repo(task)
        data = Snapshot(repo, "dataset", revision, revision, tmp_path)
    with pytest.raises(ConfigError, match=words):
        build(task, data, tmp_path / "b", languages, **options)


def test_the_record_of_another_data_set_is_refused(snapshot: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another data set"):
        build("NFCorpus", snapshot("SciFact"), tmp_path / "b", ["en"])


def test_sizes_come_from_mtebs_statistics() -> None:
    """The numbers of the papers: MIRACL's Arabic, Belebele's 900 questions on 488 passages."""
    assert expected_size("MIRACLRetrieval", ["ar"]) == {"queries": 2896, "passages": 2061414}
    assert expected_size("BelebeleRetrieval", ["en", "de"]) == {"queries": 1800, "passages": 976}
    assert expected_size("SciFact") == {"queries": 300, "passages": 5183}
    with pytest.raises(ConfigError, match="lacks tr"):
        task_repo("MIRACLRetrieval", ["tr"])
