"""One index a language, rebuilt only when its vectors or its kind changed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import faiss
import numpy as np
import pytest
from small_benchmark import unit, write_embeddings, write_parallel

from polybatch.core.errors import ConfigError, DataError
from polybatch.embedding.vectors import VectorFile
from polybatch.retrieval.flat_index import flat_vectors
from polybatch.retrieval.index import build_index, build_indexes, main
from polybatch.retrieval.options import IndexOptions, index_fault

LANGUAGES = ["en", "de"]
ROWS = 40


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    benchmark = write_parallel(tmp_path / "test", LANGUAGES, passages=ROWS)
    return embed(tmp_path, benchmark, seed=0)


def embed(tmp_path: Path, benchmark: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    sizes = {"queries": 4, "corpus": ROWS}
    vectors = {side: {lang: unit(rng.standard_normal((n, 8))) for lang in LANGUAGES} for side, n in sizes.items()}
    return write_embeddings(tmp_path / "embeddings", benchmark, vectors)


def build(embeddings: Path, languages: list[str] = LANGUAGES, factory: str = "Flat") -> dict[str, int]:
    return build_indexes(embeddings, languages, factory, IndexOptions(), embeddings.parent / "index")


def on_disk(folder: Path, vectors: np.ndarray) -> VectorFile:
    vectors.astype(np.float32).tofile(folder / "vectors")
    return VectorFile(folder / "vectors", *vectors.shape)


def test_an_index_finds_its_own_vectors(embeddings: Path) -> None:
    main(["--embeddings", str(embeddings), "--languages", *LANGUAGES, "--output", str(embeddings.parent / "index")])
    for lang in LANGUAGES:
        vectors = np.load(embeddings / "corpus" / f"{lang}.npy")
        index = faiss.read_index(str(embeddings.parent / "index" / f"{lang}.faiss"))
        scores, rows = index.search(vectors, 1)
        assert rows[:, 0].tolist() == list(range(ROWS))
        assert np.allclose(scores, 1.0, atol=1e-6)
    record = json.loads((embeddings.parent / "index" / "index.json").read_text())
    assert record["factory"] == "Flat"
    assert [record["corpus"][lang]["rows"] for lang in LANGUAGES] == [ROWS, ROWS]


@pytest.mark.parametrize(("given", "taken"), [(None, 3), (2, 2), (8, 3)])
def test_no_more_threads_build_an_index_than_the_job_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int | None, taken: int
) -> None:
    wanted = []
    of_faiss = faiss.omp_set_num_threads
    monkeypatch.setattr(faiss, "omp_set_num_threads", lambda number: wanted.append(number) or of_faiss(number))
    before = faiss.omp_get_max_threads()
    vectors = on_disk(tmp_path, unit(np.random.default_rng(0).standard_normal((50, 8))))
    build_index(vectors, "HNSW8", IndexOptions.from_values({"threads": 3}), given)
    assert wanted == [taken, before]


def test_only_what_changed_is_built(embeddings: Path) -> None:
    assert build(embeddings, ["en"]) == {"built": 1, "kept": 0}
    assert build(embeddings) == {"built": 1, "kept": 1}
    (embeddings.parent / "index" / "index.json").unlink()  # Snakemake deletes it before it runs the rule
    assert build(embeddings) == {"built": 0, "kept": 2}
    assert build(embeddings, factory="HNSW8") == {"built": 2, "kept": 0}
    embed(embeddings.parent, embeddings.parent / "test", seed=1)
    assert build(embeddings, factory="HNSW8") == {"built": 2, "kept": 0}


def test_a_damaged_index_is_built_again(embeddings: Path) -> None:
    build(embeddings)
    (embeddings.parent / "index" / "de.faiss").write_bytes(b"broken")
    assert build(embeddings) == {"built": 1, "kept": 1}


def test_a_language_no_longer_asked_for_is_removed(embeddings: Path) -> None:
    build(embeddings)
    build(embeddings, ["en"])
    assert sorted(p.name for p in (embeddings.parent / "index").iterdir()) == ["en.faiss", "en.json", "index.json"]


def test_damaged_embeddings_are_refused(embeddings: Path) -> None:
    array = np.load(embeddings / "corpus" / "de.npy")
    np.save(embeddings / "corpus" / "de.npy", array[::-1])
    with pytest.raises(DataError, match="not the one that its record describes"):
        build(embeddings)


def test_languages_that_were_not_embedded_are_named(embeddings: Path) -> None:
    with pytest.raises(DataError, match="en tr"):
        build(embeddings, ["en", "tr"])


@pytest.mark.parametrize("factory", ["IVF4,Flat", "HNSW8", "PQ4x3", "SQ8"])
def test_other_kinds_hold_every_vector(factory: str, tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((200, 8)))
    index = build_index(
        on_disk(tmp_path, vectors), factory, IndexOptions(build_parameters="efConstruction=80" * (factory == "HNSW8"))
    )
    assert index.ntotal == 200
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT


@pytest.mark.parametrize(
    ("factory", "error", "words"),
    [
        ("Flatt", ConfigError, "Flatt"),
        ("", ConfigError, "factory string"),
        ("PQ3", ConfigError, "multiple of the number of subquantizers"),
        ("LSH", ConfigError, "inner product"),
        ("IDMap,Flat", ConfigError, "IDMap"),
        ("IVF64,Flat", DataError, "40 passages"),
        ("PQ4", DataError, "too few passages to train"),
    ],
)
def test_what_faiss_cannot_build_is_told_in_our_words(
    factory: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((40, 8)))
    with pytest.raises(error, match=words):
        build_index(on_disk(tmp_path, vectors), factory, IndexOptions())


def test_a_flat_index_is_what_faiss_writes_and_its_vectors_stand_in_it(
    embeddings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybatch.retrieval.flat_index.ROWS_AT_A_TIME", 7)
    monkeypatch.setattr("polybatch.retrieval.index.ROWS_AT_A_TIME", 7)
    build(embeddings)
    path = embeddings.parent / "index" / "de.faiss"
    vectors = np.load(embeddings / "corpus" / "de.npy")
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    assert path.read_bytes() == faiss.serialize_index(index).tobytes()
    record = json.loads(path.with_suffix(".json").read_text())
    assert np.array_equal(flat_vectors(path, record).read(), vectors)
    with pytest.raises(DataError, match="too short"):
        flat_vectors(path, {**record, "rows": 10**6})


@pytest.mark.parametrize("factory", ["IVF4,Flat", "PQ4x4"])
def test_blocks_and_a_sample_give_an_index_of_the_same_vectors(
    factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = on_disk(tmp_path, unit(np.random.default_rng(0).standard_normal((3000, 8))))
    whole = faiss.serialize_index(build_index(vectors, factory, IndexOptions()))
    monkeypatch.setattr("polybatch.retrieval.flat_index.ROWS_AT_A_TIME", 700)
    monkeypatch.setattr("polybatch.retrieval.index.ROWS_AT_A_TIME", 700)
    assert np.array_equal(faiss.serialize_index(build_index(vectors, factory, IndexOptions())), whole)
    monkeypatch.setattr("polybatch.retrieval.index._LEAST_SAMPLE", 1000)
    sampled = build_index(vectors, factory, IndexOptions())
    assert sampled.ntotal == 3000
    assert not np.array_equal(faiss.serialize_index(sampled), whole)


@pytest.mark.parametrize("factory", ["IVF0,Flat", "PQ8x0", "HNSW0", "PCA0,Flat"])
def test_parts_of_no_size_are_told_before_anything_is_trained(factory: str) -> None:
    assert "the size 0" in index_fault(factory)


@pytest.mark.parametrize("factory", ["HNSW1", "HNSW1,Flat", "IVF64_HNSW1,Flat"])
def test_a_graph_that_would_end_the_process_is_refused(factory: str) -> None:
    assert "at least 2 neighbours" in index_fault(factory)


@pytest.mark.parametrize(
    ("factory", "parameters", "words"),
    [
        ("IVF1,Flat", "nprobe=0", "nprobe > 0"),
        ("IVF8,Flat", "nprobe=0", "nprobe > 0"),
        ("IVF4096_HNSW32,Flat", "nprobe=0", "nprobe > 0"),
        ("OPQ16,IVF65536,PQ16", "nprobe=0", "nprobe > 0"),
        ("IDMap,Flat", "", "IDMap"),
        ("IDMap2,IVF8,PQ8", "", "IDMap"),
        ("Flat,RFlat", "k_factor_rf=0", "k_base"),
    ],
)
def test_what_fails_when_an_index_is_used_is_told_before_any_is_built(
    factory: str, parameters: str, words: str
) -> None:
    assert words in index_fault(factory, parameters)


@pytest.mark.parametrize(
    "factory",
    [
        "IVF10,Flat",
        "HNSW32",
        "PCA80,Flat",
        "SQ8",
        "OPQ16,IVF65536_HNSW32,PQ16x4fs",
        "PQ32",
        "IVF4096(HNSW8),SQ8",
        "NSG300,Flat",
    ],
)
def test_other_parts_are_taken_at_once(factory: str) -> None:
    start = time.process_time()
    assert index_fault(factory) == ""
    parameters = "nprobe=16" if "IVF" in factory else ""
    assert index_fault(factory, parameters) == ""
    assert time.process_time() - start < 1
