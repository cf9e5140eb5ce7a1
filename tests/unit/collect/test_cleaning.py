"""Cleaning: what is dropped, at which step, and that the numbers add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch.collect.adapters.local import LocalSource
from polybatch.collect.cleaning import clean, clean_negatives
from polybatch.collect.one_source import collect_source, main
from polybatch.collect.options import CleaningOptions
from polybatch.collect.source import Pair, pair_id
from polybatch.core.contracts import COLLECTED
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet
from polybatch.core.text import clean_text


def pair(query: str, passage: str, *negatives: str) -> Pair:
    return Pair(pair_id("s", query, passage), query, passage, list(negatives))


def cleaned(pairs: list[Pair], folder: Path, **options: object) -> tuple[list[dict], dict[str, int]]:
    tables, counts = clean(pairs, CleaningOptions(**options), "s", "CC0-1.0", folder)  # type: ignore[arg-type]
    return [row for table in tables for row in table.to_pylist()], counts


def test_each_fault_is_counted_once_and_the_counts_add_up(tmp_path: Path) -> None:
    pairs = [
        pair("what is it", "It is a long enough passage"),
        pair("What is it?", "It is a long enough passage!"),  # as the first, but for case and marks
        pair("", "A passage of words"),
        pair("q", "too short"),
        pair("123", "A passage of words"),
        pair("same words here", "Same words here."),
        pair("much too long a query for this limit", "A passage of words"),
        *[pair("ambiguous", f"The {n} passage of it") for n in ("first", "second", "third", "fourth")],
    ]
    rows, counts = cleaned(pairs, tmp_path, max_query_words=5)
    assert [row["query"] for row in rows] == ["what is it"]
    assert counts == {
        "collected": 11,
        "duplicate": 1,
        "empty": 1,
        "passage too short or too long": 1,
        "query without letters": 1,
        "query equals passage": 1,
        "query too short or too long": 1,
        "query with too many passages": 4,
        "kept": 1,
    }
    assert rows[0] | {"pair_id": ""} == {
        "pair_id": "", "source": "s", "query": "what is it", "passage": "It is a long enough passage",
        "hard_negatives": [], "license": "CC0-1.0", "split": "", "kind": "", "document": "",
    }  # fmt: skip


def test_invisible_characters_go_and_joiners_stay(tmp_path: Path) -> None:
    assert clean_text("a\u200bb\ufeff c\u00ad\u0007d  e\u0301\n\ufffd") == "ab cd é"
    assert clean_text("می\u200cخواهم") == "می\u200cخواهم"
    rows, _ = cleaned(
        [pair("zero\u200bwidth query", "A passage\u00a0of\tfour words", "neg\ufffdative", "", "negative")], tmp_path
    )
    assert (rows[0]["query"], rows[0]["passage"]) == ("zerowidth query", "A passage of four words")
    assert rows[0]["hard_negatives"] == ["negative"]


def test_a_hard_negative_is_never_the_passage_itself() -> None:
    given = ["The Passage!", "another", "Another.", " "]
    assert clean_negatives(given, "the passage") == ["another"]
    assert clean_negatives(given, "the passage", keep_places=True) == ["", "another", "", ""]


def test_another_language_is_recognised(tmp_path: Path) -> None:
    german = "Die Stadt liegt am Fluss und ist für ihre Brücken und Märkte bekannt"
    pairs = [pair("wo liegt sie", german), pair("where is it", "The town lies on the river and is known for bridges")]
    assert cleaned(pairs, tmp_path)[1]["kept"] == 2
    rows, counts = cleaned(pairs, tmp_path, language_confidence=0.5)
    assert [row["query"] for row in rows] == ["where is it"]
    assert counts["another language than English"] == 1


def test_near_duplicates_go_and_questions_on_one_passage_stay(tmp_path: Path) -> None:
    passage = " ".join(f"word{i}" for i in range(60))
    pairs = [
        pair("which river flows through the town of Barado", passage),
        pair("which river flows through the town of Barado?", passage + " more"),
        pair("who was the first mayor that was elected there", passage),
    ]
    rows, counts = cleaned(pairs, tmp_path, max_words=100, near_duplicate_threshold=0.85)
    assert [row["query"] for row in rows] == [pairs[0].query, pairs[2].query]
    assert counts["near duplicate"] == 1


def test_unusable_options_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        CleaningOptions.from_json('{"min_words": 9, "max_words": 3, "near_duplicate_threshold": 0.2}')
    assert "max_words" in str(caught.value)
    assert "near_duplicate_threshold" in str(caught.value)


def test_the_stage_writes_pairs_and_what_became_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("query,passage\nwhat is it,It is a lamp\nwhat is it,It is a lamp\nwhy,No\n", "utf-8")
    output = tmp_path / "sources" / "mine.parquet"
    main(
        [
            "--source",
            '{"name": "mine", "adapter": "local", "license": "MIT"}',
            "--file",
            str(file),
            "--output",
            str(output),
        ]
    )
    assert read_parquet(output, COLLECTED).num_rows == 1
    assert read_json(output.with_suffix(".json")) == {
        "source": "mine",
        "license": "MIT",
        "examples": 1,
        "collected": 3,
        "counts": [
            {"step": "passage too short or too long", "removed": 1, "left": 2},
            {"step": "duplicate", "removed": 1, "left": 1},
            {"step": "query with too many passages", "removed": 0, "left": 1},
        ],
        "kept": 1,
        "markup": {},
        "hard_negatives": {"given": 0, "kept": 0},
    }
    assert [p.name for p in output.parent.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(DataError, match=r"No pair of mine is left"):
        collect_source(LocalSource({"name": "mine"}, file), CleaningOptions(min_words=9), output)
