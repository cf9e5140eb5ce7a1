"""Embeddings are what the model says, in the file's order, and made again only when something changed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import write_parallel, write_side
from tiny_models import save_tiny_model

from polybatch.benchmarks.benchmark import load
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, sha256_file, write_json
from polybatch.embedding.benchmark_texts import parse_jobs
from polybatch.embedding.embedder import Model
from polybatch.embedding.encode import encode, main
from polybatch.embedding.options import EncodeOptions

LANGUAGES = ["en", "de"]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(
        tmp_path_factory.mktemp("models") / "tiny", prompts={"query": "query : ", "passage": "passage : "}
    )


@pytest.fixture
def model(saved_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved_model, tmp_path / "model")


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_parallel(tmp_path / "test", [*LANGUAGES, "tr"])


def run(
    model: Path, benchmark: Path, languages: list[str] = LANGUAGES, options: EncodeOptions | None = None
) -> dict[str, int]:
    return encode(Model(model, options or EncodeOptions()), benchmark, languages, benchmark.parent / "embeddings")


def job(benchmark: Path, query_languages: list[str], corpus_languages: list[str]) -> dict[str, object]:
    output = str(benchmark.parent / "embeddings")
    sides = {"query_languages": query_languages, "corpus_languages": corpus_languages}
    return {"benchmark": str(benchmark), "output": output, **sides}


def vectors(benchmark: Path, name: str) -> np.ndarray:
    return np.load(benchmark.parent / "embeddings" / f"{name}.npy")


def encoded_by_hand(model: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model), device="cpu")
    return loaded.encode(texts, prompt="", normalize_embeddings=True)


def test_rows_follow_the_file_and_carry_the_models_prompts(model: Path, benchmark: Path) -> None:
    texts = ["a red house", "the garden light opens 7 7 7", "door", "door", "blue window"]
    write_side(benchmark, "queries", "en", [(f"q{i}-en", text, "") for i, text in enumerate(texts)])
    write_side(benchmark, "queries", "de", [(f"q{i}-de", text, "") for i, text in enumerate(texts)])
    embeddings = benchmark.parent / "embeddings"
    jobs = json.dumps([job(benchmark, ["en"], ["en"])])
    main(["--model", str(model), "--benchmarks", jobs, "--options", '{"batch_size": 2}'])
    expected = encoded_by_hand(model, [f"query : {text}" for text in texts])
    assert np.allclose(vectors(benchmark, "queries/en"), expected, atol=1e-6)
    passages = load(benchmark, ["en"]).corpus["en"].texts.to_pylist()
    expected = encoded_by_hand(model, [f"passage : {text}" for text in passages])
    assert np.allclose(vectors(benchmark, "corpus/en"), expected, atol=1e-6)
    record = read_json(embeddings / "embeddings.json")
    assert record["queries"]["en"]["prompt"] == "query : "
    assert record["corpus"]["en"]["rows"] == 6
    assert record["corpus"]["en"]["dim"] == 16


def test_a_text_that_stands_twice_has_one_embedding(model: Path, benchmark: Path) -> None:
    rows = [(f"p{i}-en", text, f"g{i}") for i, text in enumerate(["door", "the red garden", "door", "a", "b", "door"])]
    write_side(benchmark, "corpus", "en", rows)
    run(model, benchmark)
    array = vectors(benchmark, "corpus/en")
    assert np.array_equal(array[0], array[2])
    assert np.array_equal(array[0], array[5])
    assert not np.allclose(array[0], array[1])


def test_the_prompts_of_the_options_win(model: Path, benchmark: Path) -> None:
    run(model, benchmark, options=EncodeOptions(query_prompt="", passage_prompt="the "))
    texts = load(benchmark, LANGUAGES).queries["en"].texts.to_pylist()
    assert np.allclose(vectors(benchmark, "queries/en"), encoded_by_hand(model, texts), atol=1e-6)


def test_adding_a_language_costs_that_language(model: Path, benchmark: Path) -> None:
    assert run(model, benchmark) == {"encoded": 4, "kept": 0}
    before = list((benchmark.parent / "embeddings").rglob("*.npy"))
    for path in before:
        os.utime(path, ns=(1, 1))
    assert run(model, benchmark, [*LANGUAGES, "tr"]) == {"encoded": 2, "kept": 4}
    assert [path.stat().st_mtime_ns for path in before] == [1] * 4
    assert read_json(benchmark.parent / "embeddings" / "embeddings.json")["languages"] == [*LANGUAGES, "tr"]


def test_only_what_changed_is_embedded_again(model: Path, benchmark: Path) -> None:
    run(model, benchmark)
    assert run(model, benchmark) == {"encoded": 0, "kept": 4}
    rows = [(f"q{i}-de", f"haus {i}", f"g{i}") for i in range(4)]
    write_side(benchmark, "queries", "de", rows)
    assert run(model, benchmark) == {"encoded": 1, "kept": 3}
    write_side(benchmark, "queries", "de", rows[::-1])
    assert run(model, benchmark) == {"encoded": 1, "kept": 3}
    assert run(model, benchmark, options=EncodeOptions(dtype="float16")) == {"encoded": 4, "kept": 0}


def test_other_code_or_libraries_embed_again(model: Path, benchmark: Path) -> None:
    run(model, benchmark)
    for name, key in (("queries/en", "code"), ("corpus/de", "versions")):
        path = benchmark.parent / "embeddings" / f"{name}.json"
        write_json(path, {**read_json(path), key: "older"})
    assert run(model, benchmark) == {"encoded": 2, "kept": 2}


def test_another_model_embeds_everything_again(model: Path, benchmark: Path, tmp_path: Path) -> None:
    run(model, benchmark)
    first = vectors(benchmark, "corpus/en")
    (model / "README.md").write_text("another card")
    (model / "training.json").write_text('{"seconds": 12}')
    assert run(model, benchmark) == {"encoded": 0, "kept": 4}
    other = save_tiny_model(tmp_path / "other", prompts={"query": "query : ", "passage": "passage : "}, seed=1)
    shutil.copy(other / "model.safetensors", model / "model.safetensors")
    assert run(model, benchmark) == {"encoded": 4, "kept": 0}
    assert not np.allclose(vectors(benchmark, "corpus/en"), first, atol=0.01)


def test_a_killed_run_goes_on_where_it_was(model: Path, benchmark: Path) -> None:
    run(model, benchmark)
    embeddings = benchmark.parent / "embeddings"
    (embeddings / "embeddings.json").unlink()
    (embeddings / "corpus" / "de.json").unlink()
    whole = (embeddings / "queries" / "de.npy").read_bytes()
    (embeddings / "queries" / "de.npy").write_bytes(whole[:-4])
    assert run(model, benchmark) == {"encoded": 2, "kept": 2}
    assert (embeddings / "queries" / "de.npy").read_bytes() == whole


def test_a_language_no_longer_asked_for_is_removed(model: Path, benchmark: Path) -> None:
    run(model, benchmark, [*LANGUAGES, "tr"])
    assert run(model, benchmark, ["tr"]) == {"encoded": 0, "kept": 2}
    left = sorted(path.name for path in (benchmark.parent / "embeddings").rglob("*") if path.is_file())
    assert left == ["embeddings.json", "tr.json", "tr.json", "tr.npy", "tr.npy"]


def test_half_precision_halves_the_file_and_keeps_the_direction(model: Path, benchmark: Path) -> None:
    run(model, benchmark)
    full = vectors(benchmark, "corpus/en")
    run(model, benchmark, options=EncodeOptions(dtype="float16"))
    half = vectors(benchmark, "corpus/en")
    assert half.dtype == np.float16
    assert np.allclose(full, half, atol=1e-3)


def test_a_model_with_a_head_computes_in_bfloat16(model: Path, benchmark: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    plain = SentenceTransformer(str(model), device="cpu")
    headed = SentenceTransformer(modules=[*plain, Dense(16, 8)], device="cpu")
    headed.save_pretrained(str(tmp_path / "headed"))
    run(tmp_path / "headed", benchmark)
    full = vectors(benchmark, "corpus/en")
    run(tmp_path / "headed", benchmark, options=EncodeOptions(compute_dtype="bfloat16"))
    assert full.shape == (6, 8)
    assert vectors(benchmark, "corpus/en").dtype == np.float32
    assert ((vectors(benchmark, "corpus/en") * full).sum(axis=1) > 0.99).all()


@pytest.mark.parametrize(("value", "length"), [(float("nan"), "nan"), (0.0, "0.0")])
def test_vectors_without_a_direction_are_refused(model: Path, benchmark: Path, value: float, length: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    for name in ("weight", "bias"):
        weights[f"encoder.layer.0.output.LayerNorm.{name}"].fill_(value)
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=f"4 of 4 queries: q0-en .length {length}"):
        run(model, benchmark)
    assert not (benchmark.parent / "embeddings" / "embeddings.json").exists()


def test_a_folder_that_is_no_model_is_refused(model: Path, benchmark: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sentence-transformers folder"):
        run(tmp_path / "nothing", benchmark)
    (model / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(DataError, match="The model cannot be loaded: a file of weights is cut off"):
        run(model, benchmark)


def test_chunks_and_token_bounds_do_not_change_the_vectors(
    model: Path, benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["door", "the red garden opens", "a house 7 7 7 7 7 7 7", "door", "blue", "the", "a house", "door"]
    write_side(benchmark, "corpus", "en", [(f"p{i}-en", text, f"g{i}") for i, text in enumerate(texts)])
    run(model, benchmark)
    whole = vectors(benchmark, "corpus/en")
    options = EncodeOptions(batch_size=5, batch_tokens=12)
    monkeypatch.setattr("polybatch.embedding.benchmark_texts.CHUNK_ROWS", 3)
    shutil.rmtree(benchmark.parent / "embeddings")
    run(model, benchmark, options=options)
    assert np.allclose(vectors(benchmark, "corpus/en"), whole, atol=1e-6)
    record = read_json(benchmark.parent / "embeddings" / "corpus" / "en.json")
    assert record["input"] == load(benchmark, ["en"]).corpus["en"].digest()
    assert record["sha256"] == sha256_file(benchmark.parent / "embeddings" / "corpus" / "en.npy")


def test_queries_and_passages_in_different_languages(model: Path, benchmark: Path) -> None:
    embeddings = benchmark.parent / "embeddings"
    main(["--model", str(model), "--benchmarks", json.dumps([job(benchmark, ["de", "tr"], ["en"])])])
    record = read_json(embeddings / "embeddings.json")
    assert (record["languages"], record["corpus_languages"]) == (["de", "tr"], ["en"])
    assert {side: list(record[side]) for side in ("queries", "corpus")} == {"queries": ["de", "tr"], "corpus": ["en"]}
    assert sorted(path.stem for path in embeddings.rglob("*.npy")) == ["de", "en", "tr"]


def test_leading_dimensions_have_length_one_again(model: Path, benchmark: Path) -> None:
    run(model, benchmark)
    full = vectors(benchmark, "corpus/en")[:, :4]
    assert run(model, benchmark, options=EncodeOptions(truncate_dim=4)) == {"encoded": 4, "kept": 0}
    cut = vectors(benchmark, "corpus/en")
    assert np.allclose(cut, full / np.linalg.norm(full, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(ConfigError, match="truncate_dim of at most 16"):
        run(model, benchmark, options=EncodeOptions(truncate_dim=17))


def test_files_that_cannot_be_embedded_are_refused(model: Path, benchmark: Path) -> None:
    with pytest.raises(DataError, match="languages of de en tr, each once"):
        run(model, benchmark, ["en", "fr"])
    write_side(benchmark, "corpus", "de", [("p0-de", None, "")])
    with pytest.raises(DataError, match="A row has no text"):
        run(model, benchmark)
    write_side(benchmark, "corpus", "de", [])
    with pytest.raises(DataError, match="no text to embed"):
        run(model, benchmark)
    (benchmark / "corpus" / "de.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="truncated, damaged, or not Parquet"):
        run(model, benchmark)


def test_several_benchmarks_with_one_model(model: Path, tmp_path: Path) -> None:
    folders = [write_parallel(tmp_path / name / "test", ["en", "de"]) for name in ("one", "other")]
    jobs = [job(folders[0], ["en"], ["en", "de"]), job(folders[1], ["de"], ["de"])]
    main(["--model", str(model), "--benchmarks", json.dumps(jobs)])
    arrays = [sorted(str(p.relative_to(f.parent)) for p in f.parent.rglob("*.npy")) for f in folders]
    assert arrays[0] == ["embeddings/corpus/de.npy", "embeddings/corpus/en.npy", "embeddings/queries/en.npy"]
    assert arrays[1] == ["embeddings/corpus/de.npy", "embeddings/queries/de.npy"]


@pytest.mark.parametrize("jobs", ["one", "[]", '{"benchmark": "a"}', '[{"benchmark": "a", "output": "b"}]'])
def test_what_to_embed_must_be_said_in_full(jobs: str) -> None:
    with pytest.raises(ConfigError, match=r"a list of \{benchmark, output, query_languages, corpus_languages\}"):
        parse_jobs(jobs)
