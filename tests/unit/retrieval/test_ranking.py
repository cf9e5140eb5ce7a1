"""Keys hold what they were made from, and sorting them is the ranking."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from small_benchmark import unit

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import sha256_file
from polybatch.embedding.vectors import open_vectors
from polybatch.retrieval import near_ties, ranking
from polybatch.retrieval.keys import best, merge, numbers_of, pack, scores_of, without
from polybatch.retrieval.ranking import (
    Shard,
    _card_resources,
    copy_on_card,
    count_before,
    first_copies,
    number_passages,
    set_search_parameters,
)


def shard(vectors: np.ndarray, numbers: np.ndarray | None = None, factory: str = "Flat") -> Shard:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    rows = np.arange(len(vectors))
    return Shard(index, rows if numbers is None else numbers, lambda: pa.array([f"text {row}" for row in rows]))


def test_keys_sort_by_score_then_number() -> None:
    scores = np.array([0.5, -0.25, 0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 3e38, -3e38], np.float32)
    numbers = np.array([7, 1, 5, 4, 2**32 - 2, 0, 6, 9, 3, 8])
    keys = np.sort(pack(scores, numbers))
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), numbers[i]))
    assert numbers_of(keys).tolist() == [int(numbers[i]) for i in order]
    assert scores_of(keys).tolist() == [float(scores[i]) for i in order]


def test_no_passage_sorts_behind_every_passage() -> None:
    keys = np.sort(pack(np.array([-3e38, 3e38, -1.0], np.float32), np.array([2**32 - 2, -1, 0])))
    assert numbers_of(keys).tolist() == [0, 2**32 - 2, -1]


@pytest.mark.parametrize("depth", ["all", 7])
def test_merged_shards_rank_like_one_corpus(depth: int | str) -> None:
    rng = np.random.default_rng(0)
    corpus, queries = unit(rng.standard_normal((60, 8))), unit(rng.standard_normal((5, 8)))
    numbers = rng.permutation(60)
    parts = [slice(0, 13), slice(13, 50), slice(50, 60)]
    keys = merge([shard(corpus[part], numbers[part]).search(queries, depth) for part in parts], depth)
    expected = numbers[np.argsort(-(queries @ corpus.T), axis=1)]
    assert np.array_equal(numbers_of(keys), expected if depth == "all" else expected[:, :7])


def test_the_same_text_ties_whatever_the_last_bit_says() -> None:
    """At this shape, FAISS's blocked products differ in the last bit between copies of one vector."""
    rng = np.random.default_rng(1)
    vectors = unit(rng.standard_normal((1000, 385)))
    corpus, queries = np.concatenate([vectors, vectors[:333]]), unit(rng.standard_normal((391, 385)))
    texts = pa.array([f"text {row % 1000}" for row in range(len(corpus))])
    keys = Shard(shard(corpus).index, np.arange(len(corpus))[::-1].copy(), lambda: texts).search(queries, "all")
    scores = np.empty(keys.shape, np.float32)
    np.put_along_axis(scores, numbers_of(keys), scores_of(keys), axis=1)
    scores = scores[:, ::-1]  # by row again
    assert np.array_equal(scores[:, :333], scores[:, 1000:])
    assert np.allclose(scores, queries @ corpus.T, atol=1e-6)


def copies(distinct: int, rows: int, dim: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) which of the distinct texts each row has, and the (rows, dim) vectors."""
    rng = np.random.default_rng(7)
    of = rng.integers(0, distinct, rows)
    return of, np.ascontiguousarray(unit(rng.standard_normal((distinct, dim)))[of])


def test_a_cut_list_is_the_beginning_of_the_full_one_however_many_copies_there_are() -> None:
    of, vectors = copies(300, 9000)
    numbers = np.random.default_rng(8).permutation(len(of))
    searched = Shard(shard(vectors).index, numbers, lambda: pa.array([f"text {i}" for i in of]))
    queries = unit(np.random.default_rng(9).standard_normal((257, 384)))
    whole, full = numbers_of(searched.search(queries, 100)), numbers_of(searched.search(queries, "all"))
    assert np.array_equal(whole, full[:, :100])
    parts = [numbers_of(searched.search(part, 100)) for part in np.split(queries, [64, 128])]
    assert np.array_equal(whole, np.concatenate(parts))


def test_more_near_ties_than_a_list_has_places_are_ordered_as_they_pass_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a model gives all texts one vector: memory would else grow with the corpus."""
    widths = []
    reaching = near_ties.reaching
    monkeypatch.setattr(near_ties, "reaching", lambda *args: widths.append(reaching(*args).shape[1]) or reaching(*args))
    monkeypatch.setattr(ranking, "_PASSAGES_AT_A_TIME", 500)
    monkeypatch.setattr(ranking, "_TIES", 100)
    _, vectors = copies(1, 5000)
    numbers = np.random.default_rng(8).permutation(5000)
    queries = unit(np.random.default_rng(9).standard_normal((5, 384)))
    found = Shard(shard(vectors).index, numbers, lambda: pa.array([])).search(queries, 10)
    assert numbers_of(found).tolist() == [list(range(10))] * 5
    assert max(widths) <= 510


def test_of_passages_that_rounding_cannot_tell_apart_the_order_is_that_of_exact_scores() -> None:
    rng = np.random.default_rng(3)
    vectors = unit(unit(rng.standard_normal((1, 384))) + 3e-8 * rng.standard_normal((2000, 384)))
    queries = unit(vectors[:1] + rng.standard_normal((70, 384)) / 20)
    exact = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    found = numbers_of(shard(vectors).search(queries, 50))
    assert np.array_equal(found, numbers_of(best(exact, np.arange(2000), 50)))


def test_passages_that_an_index_does_not_find_are_left_out() -> None:
    rng = np.random.default_rng(2)
    corpus, queries = unit(rng.standard_normal((200, 8))), unit(rng.standard_normal((20, 8)))
    probing_one_list = shard(corpus, factory="IVF4,Flat")
    keys = probing_one_list.search(queries, "all")
    numbers, scores = numbers_of(keys), scores_of(keys)
    assert (numbers == -1).any()
    exact = queries @ corpus.T
    for row in range(20):
        found = numbers[row][numbers[row] >= 0]
        assert 0 < len(found) < 200
        assert np.allclose(scores[row, : len(found)], exact[row, found], atol=1e-6)
        assert (np.diff(scores[row, : len(found)]) <= 0).all()
    set_search_parameters(probing_one_list.index, "nprobe=4")
    assert (numbers_of(probing_one_list.search(queries, "all")) >= 0).all()


def test_what_faiss_says_of_a_search_is_told() -> None:
    searched = shard(unit(np.random.default_rng(0).standard_normal((200, 8))), factory="IVF4,Flat")
    set_search_parameters(searched.index, "nprobe=0")
    with pytest.raises(ConfigError, match="nprobe > 0"):
        searched.search(np.eye(8, dtype=np.float32), 10)


def test_an_unknown_search_parameter_is_told() -> None:
    with pytest.raises(ConfigError, match="efSearch=5"):
        set_search_parameters(shard(np.eye(4, dtype=np.float32)).index, "efSearch=5")


def test_numbers_fall_as_the_ids_rise_over_all_corpora() -> None:
    ids, numbers = number_passages([pa.array(["p10", "p2"]), pa.array(["p1", "é", "a"])])
    assert ids.to_pylist() == ["é", "p2", "p10", "p1", "a"]
    assert [part.tolist() for part in numbers] == [[2, 1], [3, 0, 4]]


@pytest.mark.parametrize("depth", ["all", 2])
def test_excluded_passages_leave_no_gap(depth: int | str) -> None:
    keys = pack(np.array([[0.9, 0.8, 0.7, 0.6]] * 3, np.float32), np.array([[4, 3, 2, 1]] * 3))
    left = numbers_of(without(keys, np.array([[3, 9], [-1, -1], [1, 4]]), depth))
    full = [[4, 2, 1, -1], [4, 3, 2, 1], [3, 2, -1, -1]]
    assert left.tolist() == (full if depth == "all" else [row[:2] for row in full])


def lexical_ranks(scores: np.ndarray, numbers: np.ndarray, passages: np.ndarray) -> list[list[int]]:
    return [
        [sorted(zip(-row, numbers, strict=True)).index((-row[list(numbers).index(p)], p)) for p in wanted]
        for row, wanted in zip(scores, passages, strict=True)
    ]


@pytest.mark.parametrize("relevant", [1, 5], ids=["compared", "sorted"])
@pytest.mark.parametrize("values", [2, 1000], ids=["ties", "no ties"])
def test_ranks_are_counted_over_corpora_without_sorting(relevant: int, values: int) -> None:
    rng = np.random.default_rng(values)
    scores = (rng.integers(0, values, (6, 50)) / values).astype(np.float32)
    numbers = rng.permutation(50)
    passages = np.stack([rng.choice(50, relevant, replace=False) for _ in range(6)])
    row_of = np.argsort(numbers)
    own = np.take_along_axis(scores, row_of[passages], axis=1)
    before = np.zeros(own.shape, np.int64)
    for part in (slice(0, 20), slice(20, 50)):
        held = np.isin(passages, numbers[part])
        before += count_before(np.ascontiguousarray(scores[:, part]), numbers[part], own, passages, held)
    assert before.tolist() == lexical_ranks(scores, numbers, passages)
    own[0] = np.nan  # not retrieved
    assert not count_before(scores, numbers, own, passages, np.zeros(own.shape, bool))[0].any()


@pytest.mark.parametrize("values", [2, 1000], ids=["ties", "no ties"])
def test_the_best_are_those_of_a_sort_ties_and_gaps_included(values: int) -> None:
    rng = np.random.default_rng(values)
    scores = (rng.integers(0, values, (6, 50)) / values).astype(np.float32)
    scores[0, 5:] = -np.inf
    numbers = rng.permutation(50)
    for depth in (1, 10, 50):
        keys = best(scores, numbers, depth)
        for row, found in zip(scores, numbers_of(keys), strict=True):
            there = [number for score, number in sorted(zip(-row, numbers, strict=True)) if np.isfinite(score)]
            assert found.tolist() == (there + [-1] * depth)[:depth]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_vectors_that_pass_by_in_blocks_are_searched_as_those_in_memory(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    vectors = unit(rng.standard_normal((500, 8))).astype(dtype)
    vectors[100:] = vectors[100 + rng.integers(0, 300, 400)]  # copies, most of them in other blocks
    queries, numbers = unit(rng.standard_normal((7, 8))), rng.permutation(500)
    np.save(tmp_path / "vectors.npy", vectors)
    record = {"rows": 500, "dim": 8, "sha256": sha256_file(tmp_path / "vectors.npy")}
    file = open_vectors(tmp_path / "vectors.npy", record)
    monkeypatch.setattr(ranking, "_PASSAGES_AT_A_TIME", 64)
    resident = Shard(None, numbers, lambda: pa.array([]), vectors=file).search(queries, 90)
    monkeypatch.setattr(ranking, "_RESIDENT_BYTES", 0)
    streamed = Shard(None, numbers, lambda: pa.array([]), vectors=file).search(queries, 90)
    assert np.array_equal(streamed, resident)
    scores = queries @ vectors.astype(np.float32).T
    assert np.allclose(scores_of(streamed), -np.sort(-scores, axis=1)[:, :90], atol=1e-6)
    assert np.array_equal(file.take(np.array([3, 70, 499])), vectors[[3, 70, 499]].astype(np.float32))
    (tmp_path / "vectors.npy").write_bytes((tmp_path / "vectors.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="ends too early"):
        Shard(None, numbers, lambda: pa.array([]), vectors=file).search(queries, 90)


@pytest.mark.parametrize("depth", ["all", 2])
def test_vectors_that_are_no_numbers_never_become_a_score(depth: int | str) -> None:
    vectors = unit(np.eye(4, dtype=np.float32))
    vectors[2, 1] = np.nan
    index = shard(vectors)
    with pytest.raises(DataError, match="not numbers"):
        index.search(vectors[:2], depth)


def test_first_copies() -> None:
    assert first_copies(pa.array(["x", "y", "x", "z", "y", "x"])).tolist() == [0, 1, 0, 3, 1, 0]


def test_a_copy_on_a_card_answers_lists_that_faiss_selects_there() -> None:
    """In place of the card an index of fewer vectors, so that its answers can be told from the others."""
    rng = np.random.default_rng(2)
    corpus, queries = unit(rng.standard_normal((3000, 8))), unit(rng.standard_normal((2, 8)))
    whole, part = shard(corpus), shard(corpus[:2500])
    both = Shard(whole.index, whole.numbers, whole.read_texts, part.index)
    for depth in (10, 2048):
        assert np.array_equal(numbers_of(both.search(queries, depth)), numbers_of(part.search(queries, depth)))
    for deeper in (2049, "all"):
        assert np.array_equal(both.search(queries, deeper), whole.search(queries, deeper))


def test_without_a_card_nothing_is_copied_and_a_given_one_is_missed_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if faiss.get_num_gpus():
        pytest.skip("there is a card")
    index = shard(unit(np.eye(4, dtype=np.float32))).index
    for given, missed in (("", False), ("0", True)):
        _card_resources.cache_clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert copy_on_card(index, 10, "index") is None
        assert ("SEARCHING ON THE CPU" in caplog.text) is missed
    _card_resources.cache_clear()


def test_an_index_without_a_place_on_the_card_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """FAISS's functions for cards are missing here: one that throws as it does for an index that does not fit."""

    def full(*_: object) -> None:
        raise RuntimeError("Error in virtual void* alloc() at gpu.cpp:1: Error: 'err == cudaSuccess' failed: no memory")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", full, raising=False)
    _card_resources.cache_clear()
    assert copy_on_card(shard(unit(np.eye(4, dtype=np.float32))).index, 10, "de") is None
    assert "de: searched on the CPU" in caplog.text and caplog.text.rstrip().endswith("no memory")
    _card_resources.cache_clear()
