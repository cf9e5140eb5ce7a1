"""Training text of a language: where each pair's text comes from, and that contaminated pairs are in no language."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch.core.contracts import COLLECTED, CONTAMINATED, PARALLEL, TRANSLATED
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_parquet, write_rows
from polybatch.decontaminate.excluded import EVALUATION_TEXT
from polybatch.pairs import parallel

# id -> (split, kind)
PAIRS = {
    "supplied": ("train", "parallel"),
    "no-german": ("train", "parallel"),
    "machine": ("train", "english_only"),
    "refused": ("train", "english_only"),
    "overlap-en": ("train", "parallel"),
    "overlap-fr": ("train", "english_only"),
    "dev": ("dev", "parallel"),
    "test": ("test", "parallel"),
}


def translated(pair: str, reason: str = "accepted", **texts: str) -> dict:
    return {
        "pair_id": pair, "source": "s", "query": f"mt {pair}", "passage": f"MT of {pair}", "query_back": f"back {pair}",
        "passage_back": f"Back of {pair}", "query_chrf": 50.0, "passage_chrf": 50.0, "accepted": reason == "accepted",
        "reason": reason, "hard_negatives": ["mt negative"], **texts,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    english = [
        {"pair_id": i, "source": "s", "query": f"en {i}", "passage": f"English of {i}", "hard_negatives": ["negative"],
         "license": "", "split": split, "kind": kind}
        for i, (split, kind) in PAIRS.items()
    ]  # fmt: skip
    write_rows(folder / "en.parquet", english, COLLECTED)
    german = [
        {
            "pair_id": i,
            "source": "s",
            "origin": "supplied",
            "query": f"de {i}",
            "passage": f"Deutsch {i}",
            "hard_negatives": [],
        }
        for i in PAIRS
        if i != "no-german"
    ]
    write_rows(folder / "supplied.parquet", german, PARALLEL)
    machine = [
        translated("machine"),
        translated("refused", "round trip"),
        translated("overlap-fr"),
        translated("supplied"),
    ]
    write_rows(folder / "de.parquet", machine, TRANSLATED)
    french = [translated("machine", query_back=" "), translated("refused"), translated("overlap-fr", EVALUATION_TEXT)]
    write_rows(folder / "fr.parquet", french, TRANSLATED)
    overlap = {"pair_id": "overlap-en", "source": "s", "lang": "en", "side": "query", "overlap": "exact", "share": 1.0,
               "benchmark": "b", "text_id": "t"}  # fmt: skip
    write_rows(folder / "pairs.parquet", [overlap], CONTAMINATED)
    return folder


CLEAN = ["--contaminated", "pairs.parquet", "--translated-all", "de.parquet", "fr.parquet"]
GERMAN = ["--supplied", "supplied.parquet", "--machine", "de.parquet"]


def run(folder: Path, lang: str, *flags: str) -> dict[str, dict]:
    arguments = [str(folder / flag) if flag.endswith(".parquet") else flag for flag in flags]
    output = folder / "out" / "out.parquet"
    parallel.main(["--collected", str(folder / "en.parquet"), "--lang", lang, *arguments, "--output", str(output)])
    rows = read_parquet(output, PARALLEL).to_pylist()
    assert len({row["pair_id"] for row in rows}) == len(rows)
    return {row["pair_id"]: row for row in rows}


def test_each_pair_comes_from_where_its_kind_says(folder: Path) -> None:
    found = run(folder, "de", *GERMAN, *CLEAN)
    assert {i: (row["origin"], row["query"]) for i, row in found.items()} == {
        "supplied": ("supplied", "de supplied"),
        "machine": ("machine", "mt machine"),
    }
    assert found["machine"]["hard_negatives"] == ["mt negative"]


def test_a_pair_that_overlaps_anywhere_is_left_out_everywhere(folder: Path) -> None:
    assert set(run(folder, "en", *CLEAN)) == {"supplied", "no-german", "machine", "refused"}
    assert set(run(folder, "en")) == {i for i, (split, _) in PAIRS.items() if split == "train"}
    assert {"overlap-en", "overlap-fr"} <= set(run(folder, "de", *GERMAN))


def test_english_keeps_its_hard_negatives(folder: Path) -> None:
    assert {(row["origin"], *row["hard_negatives"]) for row in run(folder, "en").values()} == {("english", "negative")}


def test_validation_is_the_dev_split_or_a_source_of_its_own(folder: Path) -> None:
    assert set(run(folder, "en", "--split", "dev", *CLEAN)) == {"dev"}
    source = ["--validation-source", "en.parquet", "--contaminated", "pairs.parquet"]
    every = set(run(folder, "en", *source))
    assert every == set(PAIRS) - {"overlap-en"}
    few, more = (set(run(folder, "en", *source, "--max-pairs", str(n))) for n in (2, 4))
    assert (len(few), len(more)) == (2, 4)
    assert few < more < every


def test_paraphrases_are_what_came_back_of_accepted_pairs(folder: Path) -> None:
    found = run(folder, "en", "--paraphrase", "de.parquet", *CLEAN)
    assert {i: (row["query"], row["passage"]) for i, row in found.items()} == {
        "machine": ("back machine", "Back of machine")
    }
    assert found["machine"]["hard_negatives"] == []
    assert set(run(folder, "en", "--paraphrase", "fr.parquet", *CLEAN)) == {"refused"}, "an empty text is none"


def test_no_text_is_an_error_and_leaves_no_file(folder: Path) -> None:
    with pytest.raises(DataError, match="no train text in tr"):
        run(folder, "tr", *CLEAN)
    assert not (folder / "out" / "out.parquet").exists()
    with pytest.raises(ConfigError, match="--lang en"):
        run(folder, "de", "--split", "dev")
    with pytest.raises(DataError, match="is missing"):
        run(folder, "de", "--supplied", "nowhere.parquet")
