"""A question is embedded and ranked as the run itself was, and vectors of another model are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_study import HYBRID, LANGUAGES, QUERIES, UNTRAINED, embed, write_study
from tiny_models import save_tiny_model

from polybatch.config.study_paths import StudyPaths
from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json, write_rows
from polybatch.retrieval.keys import ALL, numbers_of
from polybatch.retrieval.searchable import open_collection
from polybatch.search.indexed import Indexed, read_study
from polybatch.search.retriever import Asked, Retriever, open_retriever


@pytest.fixture
def paths(written: Path, tmp_path: Path) -> StudyPaths:
    """A copy that a test may damage."""
    shutil.copytree(written, tmp_path / "results")
    return StudyPaths("toy", "default", str(tmp_path / "results"), config=_config(tmp_path / "results"))


def _config(results: Path) -> dict:
    return read_json(results / "tables/default/v1/manifest.json")["config"]


def indexed(paths: StudyPaths, run: str = UNTRAINED) -> Indexed:
    return read_study(Path(paths.results), "default").choose(run, None, "test")[0]


def opened(paths: StudyPaths, run: str = UNTRAINED) -> Retriever:
    return open_retriever(indexed(paths, run), lambda words: None)


@pytest.mark.parametrize("run", [UNTRAINED, HYBRID])
def test_a_typed_query_gets_the_vector_and_the_ranking_that_the_run_was_scored_with(
    paths: StudyPaths, run: str
) -> None:
    found = opened(paths, run)
    scored = open_collection(
        Path(paths.embeddings(run, "test")), Path(paths.index_record(run, "test")).parent, Path(paths.benchmark("test"))
    )
    for lang in LANGUAGES:
        for row, text in enumerate(QUERIES[lang]):
            typed, stored = found.embed(text), found.stored(lang, row)
            assert np.allclose(typed.vector, stored.vector, atol=1e-6)
            ranking = scored.rank(lang, slice(row, row + 1), ["all"], ALL, 24)["all"]
            ranked = found.rank(stored)
            assert np.array_equal(ranked.first(24)[0], numbers_of(ranking.keys)[0])
            assert np.array_equal(ranked.ranks(scored.judged[lang, "all"][0][row]), ranking.ranks[0])


def test_vectors_stay_in_their_files(paths: StudyPaths) -> None:
    for shard in opened(paths).collection.shards.values():
        assert isinstance(shard.resident.base, np.memmap)


def test_float16_vectors_and_indexes_that_are_not_exact_are_ranked_exactly(tmp_path: Path) -> None:
    paths = write_study(tmp_path / "results", dtype="float16", factory="HNSW4")
    found = opened(paths)
    assert found.factory == "HNSW4"
    stored = found.stored("th", 1)
    vectors = np.concatenate(
        [np.load(f"{paths.embeddings(UNTRAINED, 'test')}/corpus/{lang}.npy") for lang in LANGUAGES]
    )
    expected = np.sort(stored.vector @ vectors.astype(np.float32).T)[::-1]
    assert np.allclose(found.rank(stored).first(24)[1], expected, atol=1e-6)


def test_a_filter_lists_other_passages_and_leaves_ranks_as_they_are(paths: StudyPaths) -> None:
    found = opened(paths)
    ranked = found.rank(found.embed("red house"))
    every, _ = ranked.first(24)
    thai, scores = ranked.first(3, [found.languages.index("th")])
    assert thai.tolist() == [number for number in every if found.language_of[number] == 2][:3]
    assert (np.diff(scores) <= 0).all()
    assert ranked.ranks(thai).tolist() == [every.tolist().index(number) + 1 for number in thai]


def test_passages_that_the_benchmark_takes_out_of_a_query_have_no_rank(paths: StudyPaths) -> None:
    rows = [{"query_id": "q0-en", "passage_id": "p0-en"}]
    schema = contracts.QRELS.remove(contracts.QRELS.get_field_index("relevance"))
    write_rows(Path(paths.benchmark("test")) / "excluded.parquet", rows, schema)
    found = opened(paths)
    own = found.rank(found.stored("en", 0))
    taken = np.array([found.collection.passage_ids.index("p0-en").as_py()])
    assert own.ranks(taken).tolist() == [0]
    assert taken[0] not in own.first(24)[0]
    assert len(own.first(24)[0]) == 23
    assert found.rank(Asked(found.stored("en", 0).vector, np.empty(0, np.int64))).ranks(taken)[0] > 0


def test_a_question_longer_than_the_model_reads_says_so(paths: StudyPaths) -> None:
    found = opened(paths)
    assert not found.embed("red house").cut
    assert found.embed("red house " * 40).cut


def test_vectors_of_another_model_are_refused(paths: StudyPaths) -> None:
    shutil.rmtree(paths.model(HYBRID))
    save_tiny_model(Path(paths.model(HYBRID)), seed=7)
    with pytest.raises(DataError, match=f"The vectors of {HYBRID.replace('+', '.')} were made with another model"):
        opened(paths, HYBRID)
    embed(paths, HYBRID, "test")
    opened(paths, HYBRID)


def test_an_index_of_other_vectors_is_refused(paths: StudyPaths) -> None:
    other, own = (Path(paths.index_record(run, "test")).parent for run in (UNTRAINED, HYBRID))
    shutil.rmtree(own)
    shutil.copytree(other, own)
    with pytest.raises(DataError, match="not made from these embeddings"):
        opened(paths, HYBRID)


def test_vectors_of_another_length_are_refused(paths: StudyPaths) -> None:
    record = Path(paths.embeddings(UNTRAINED, "test")) / "embeddings.json"
    embedded = dict(read_json(record))
    for of_lang in embedded["queries"].values():
        of_lang["options"]["truncate_dim"] = 8
    write_json(record, embedded)
    with pytest.raises(DataError, match="another length"):
        opened(paths)


def test_a_model_that_is_gone_is_told(paths: StudyPaths) -> None:
    there = indexed(paths)
    with pytest.raises(DataError, match="no sentence-transformers folder"):
        open_retriever(replace(there, model=there.model.with_name("gone")), lambda words: None)
