"""Shares of a benchmark, embedded apart and put together, are what one job makes; anything else is refused."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import write_parallel, write_side
from tiny_models import WORDS, save_tiny_model

from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json
from polybatch.embedding.benchmark_texts import Job, TextFile
from polybatch.embedding.embedder import Model
from polybatch.embedding.encode import encode, main
from polybatch.embedding.options import EncodeOptions
from polybatch.embedding.shards import deal, embed_shard, gather, part_path

LANGUAGES = ["en", "de"]
OPTIONS = EncodeOptions(batch_size=2)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(saved_model: Path) -> Model:
    return Model(saved_model, OPTIONS)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Two languages with 11 passages of many lengths, in chunks of 3 rows."""
    monkeypatch.setattr("polybatch.embedding.benchmark_texts.CHUNK_ROWS", 3)
    benchmark = write_parallel(tmp_path / "test", [*LANGUAGES, "tr"])
    for lang in LANGUAGES:
        write_side(benchmark, "corpus", lang, passages(lang, 11))
    return Job(benchmark, tmp_path / "embeddings", LANGUAGES, LANGUAGES)


def passages(lang: str, count: int) -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(len(lang) + count)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 12))) for _ in range(count)]
    return [(f"p{i}-{lang}", text, f"g{i}") for i, text in enumerate(texts)]


def summaries(job: Job, shards: int = 3) -> list[Path]:
    return [job.output.parent / "summaries" / f"{shard}-of-{shards}.json" for shard in range(shards)]


def embed(model: Model, job: Job, shards: int = 3) -> list[dict[str, int]]:
    return [embed_shard(model, [job], shard, shards, path) for shard, path in enumerate(summaries(job, shards))]


def put_together(model: Model, job: Job, shards: int = 3) -> dict[str, int]:
    return gather(model.folder, OPTIONS, [job], summaries(job, shards))


def parts(job: Job) -> list[Path]:
    return sorted(job.parts.rglob("*.npy"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("sizes", "shards"), [([11, 11, 4], 3), ([1], 4), ([100, 7, 8, 1, 1, 1], 4), ([9, 9], 1), ([6, 6, 6, 6], 4)]
)
def test_rows_are_dealt_once_in_whole_chunks_and_evenly(
    sizes: list[int], shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybatch.embedding.benchmark_texts.CHUNK_ROWS", 3)
    dealt = deal(sizes, shards)
    for size, of_file in zip(sizes, dealt, strict=True):
        assert [row for rows in of_file for row in rows] == list(range(size))
        assert all(rows.start % 3 == 0 or not rows for rows in of_file)
    loads = [sum(len(of_file[shard]) for of_file in dealt) for shard in range(shards)]
    assert max(loads) - min(loads) <= 3


def test_shards_make_what_one_job_makes_bit_by_bit(model: Model, job: Job, tmp_path: Path) -> None:
    encode(model, job.benchmark, LANGUAGES, tmp_path / "whole")
    assert embed(model, job) == [{"embedded": n, "kept": 0} for n in (3, 3, 4)]
    assert [path.name for path in sorted((job.parts / "corpus" / "en").glob("*.npy"))] == [
        "0000000000-0000000006.npy",
        "0000000006-0000000009.npy",
        "0000000009-0000000011.npy",
    ]
    assert put_together(model, job) == {"gathered": 4, "kept": 0}
    assert files(job.output) == files(tmp_path / "whole"), "arrays, records and embeddings.json; no part is left"


def test_a_killed_shard_keeps_its_finished_parts_and_redoes_damaged_ones(model: Model, job: Job) -> None:
    embed(model, job)
    lost, damaged, *kept = parts(job)
    before = {path: path.read_bytes() for path in parts(job)}
    for path in kept:
        os.utime(path, ns=(1, 1))
    lost.with_suffix(".json").unlink()
    damaged.write_bytes(before[damaged][:-4])
    assert sum(counts["embedded"] for counts in embed(model, job)) == 2
    assert {path.stat().st_mtime_ns for path in kept} == {1}
    assert {path: path.read_bytes() for path in parts(job)} == before


def test_a_killed_gathering_goes_on(model: Model, job: Job, tmp_path: Path) -> None:
    encode(model, job.benchmark, LANGUAGES, tmp_path / "whole")
    embed(model, job)
    shutil.copytree(tmp_path / "whole" / "queries", job.output / "queries")  # as one leaves it, after the queries
    assert put_together(model, job) == {"gathered": 2, "kept": 2}
    assert files(job.output) == files(tmp_path / "whole")


def test_what_is_up_to_date_is_not_embedded_again_whatever_the_number_of_shards(model: Model, job: Job) -> None:
    encode(model, job.benchmark, LANGUAGES, job.output)
    before = files(job.output)
    fresh = Model(model.folder, OPTIONS)
    assert all(not counts["embedded"] for counts in embed(fresh, job, 2))
    assert "loaded" not in vars(fresh), "no model is loaded where nothing is to be done"
    assert put_together(model, job, 2) == {"gathered": 0, "kept": 4}
    assert files(job.output) == before
    larger = replace(job, query_languages=[*LANGUAGES, "tr"], corpus_languages=["de", "tr"])
    assert sum(counts["embedded"] for counts in embed(model, larger, 2)) == 4, "two parts of each Turkish file"
    assert put_together(model, larger, 2) == {"gathered": 2, "kept": 3}
    assert not (job.output / "corpus" / "en.npy").exists(), "no longer asked for"
    assert encode(model, job.benchmark, [*LANGUAGES, "tr"], job.output, ["de", "tr"]) == {"encoded": 0, "kept": 5}


def remove(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def change_a_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def of_fewer_rows(path: Path) -> None:
    record = read_json(path.with_suffix(".json"))
    vectors = np.load(path)[:-1]
    np.save(path, vectors)
    write_json(path.with_suffix(".json"), {**record, "rows": len(vectors)})


def of_another_model(path: Path) -> None:
    record = path.with_suffix(".json")
    write_json(record, {**read_json(record), "model": "another"})


def of_another_width(path: Path) -> None:
    record = path.with_suffix(".json")
    vectors = np.load(path)[:, :8]
    np.save(path, vectors)
    write_json(record, {**read_json(record), "dim": 8})


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (remove, "0000000006-0000000009.npy: missing"),
        (cut_off, "0000000006-0000000009.npy: 316 bytes, where 320 were written"),
        (change_a_bit, "damaged after it was written"),
        (of_fewer_rows, "0000000006-0000000009.npy: 2 rows"),
        (of_another_model, "0000000006-0000000009.npy: made from another model"),
        (of_another_width, "0000000006-0000000009.npy: another dim than"),
    ],
)
def test_parts_that_do_not_fit_are_refused(model: Model, job: Job, harm: object, told: str) -> None:
    embed(model, job)
    harm(job.parts / "corpus" / "en" / "0000000006-0000000009.npy")  # type: ignore[operator]
    with pytest.raises(DataError, match=told) as caught:
        put_together(model, job)
    assert "--forcerun encode_shard" in str(caught.value)
    assert not (job.output / "corpus" / "en.npy").exists()
    assert not (job.output / "embeddings.json").exists()
    embed(model, job)
    assert put_together(model, job)["gathered"] == 4 if harm is not change_a_bit else True


def test_all_faults_are_told_at_once_and_other_text_is_one(model: Model, job: Job) -> None:
    embed(model, job)
    rows = passages("en", 11)
    rows[7] = (rows[7][0], "another text", rows[7][2])
    write_side(job.benchmark, "corpus", "en", rows)
    (job.parts / "corpus" / "de" / "0000000000-0000000003.npy").unlink()
    with pytest.raises(DataError) as caught:
        put_together(model, job)
    assert caught.value.found.count(";") == 1
    assert "en/0000000006-0000000009.npy: made from another input" in caught.value.found
    assert "de/0000000000-0000000003.npy: missing" in caught.value.found


def test_shards_of_another_division_or_way_are_refused(model: Model, job: Job, saved_model: Path) -> None:
    embed(model, job)
    of_three = summaries(job)
    for given in (of_three[:2], [*of_three[:2], of_three[0]]):
        with pytest.raises(DataError, match="not those of one division"):
            gather(saved_model, OPTIONS, [job], given)
    with pytest.raises(DataError, match=r"same options(.|\n)*of this job"):
        gather(saved_model, OPTIONS.changed(dtype="float16"), [job], of_three)
    embed_shard(Model(saved_model, OPTIONS.changed(compute_dtype="bfloat16")), [job], 1, 3, of_three[1])
    with pytest.raises(DataError, match=r"same options(.|\n)*name one encoding.compute_dtype"):
        gather(saved_model, OPTIONS, [job], of_three)


def test_what_auto_was_for_the_shards_is_what_it_is_for_the_gathering(saved_model: Path, job: Job) -> None:
    embed(Model(saved_model, OPTIONS.changed(compute_dtype="bfloat16")), job)  # as on a card
    assert OPTIONS.compute_dtype == "auto"
    gather(saved_model, OPTIONS, [job], summaries(job))
    assert read_json(job.output / "corpus" / "en.json")["options"]["compute_dtype"] == "bfloat16"


def test_more_shards_than_chunks_leave_some_without_work(model: Model, job: Job, tmp_path: Path) -> None:
    encode(model, job.benchmark, LANGUAGES, tmp_path / "whole")
    assert [sum(counts.values()) for counts in embed(model, job, 15)].count(0) == 3
    put_together(model, job, 15)
    assert files(job.output) == files(tmp_path / "whole")


def test_only_the_row_groups_of_the_wanted_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from polybatch.core import contracts

    monkeypatch.setattr("polybatch.embedding.benchmark_texts.CHUNK_ROWS", 4)
    rows = passages("en", 20)
    table = pa.Table.from_pylist(
        [{"passage_id": i, "lang": "en", "text": text, "group": group} for i, text, group in rows],
        schema=contracts.CORPUS,
    )
    path = tmp_path / "en.parquet"
    with pq.ParquetWriter(path, contracts.CORPUS) as writer:
        for start, stop in ((0, 2), (2, 7), (7, 13), (13, 20)):
            writer.write_table(table.slice(start, stop - start))
    file = TextFile("corpus", path, tmp_path / "en.npy")
    found = list(file.read(["passage_id", "text"], range(4, 15)))
    assert [len(chunk) for chunk in found] == [4, 4, 3]
    assert [i for chunk in found for i in chunk["passage_id"].to_pylist()] == [row[0] for row in rows[4:15]]
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    raw = bytearray(path.read_bytes())
    raw[4 : second.dictionary_page_offset] = bytes(second.dictionary_page_offset - 4)
    path.write_bytes(raw)  # the first group cannot be read any more
    assert [len(chunk) for chunk in file.read(["text"], range(8, 12))] == [4]
    with pytest.raises(DataError, match="cannot be read"):
        list(file.read(["text"], range(4)))


def test_a_card_that_computes_in_bfloat16_is_used_so(
    saved_model: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    assert Model(saved_model, EncodeOptions()).options.compute_dtype == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert EncodeOptions().resolved().compute_dtype == "bfloat16"
    assert EncodeOptions().resolved().affecting_values()["compute_dtype"] == "bfloat16"
    assert EncodeOptions(compute_dtype="float16").resolved().compute_dtype == "float16"
    assert EncodeOptions(device="cpu").resolved().compute_dtype == "float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert EncodeOptions().resolved().compute_dtype == "float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert EncodeOptions().resolved().compute_dtype == "float32"


def test_the_command_line(model: Model, job: Job, tmp_path: Path) -> None:
    described = {
        "benchmark": str(job.benchmark),
        "output": str(job.output),
        "query_languages": ["en"],
        "corpus_languages": ["en"],
    }
    always = ["--model", str(model.folder), "--benchmarks", json.dumps([described])]
    shards = [str(tmp_path / f"{shard}.json") for shard in range(2)]
    for shard, path in enumerate(shards):
        main([*always, "--shard", str(shard), "--shards", "2", "--summary", path])
    main([*always, "--gather", *shards])
    assert read_json(job.output / "embeddings.json")["corpus"]["en"]["rows"] == 11
    for wrong in (["--shard", "0"], ["--shard", "2", "--shards", "2", "--summary", shards[0]]):
        with pytest.raises(SystemExit):
            main([*always, *wrong])


def test_parts_have_names_of_their_rows(job: Job) -> None:
    file = job.files()[-1]
    assert part_path(job, file, range(3, 9)) == job.output / ".parts/corpus/de/0000000003-0000000009.npy"
