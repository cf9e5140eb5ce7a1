"""The tables about the training text, from records as the stages write them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from polybatch.core.errors import DataError
from polybatch.core.files import write_json
from polybatch.decontaminate.contaminated import Found
from polybatch.decontaminate.exposure import exposure
from polybatch.decontaminate.overlap import Match
from polybatch.tables import data
from polybatch.tables.data import read_supplied, supplied_table
from polybatch.tables.forms.latex import to_latex
from polybatch.tables.forms.table import to_csv, to_markdown
from polybatch.tables.forms.webpage import to_html


def rows_of(table):
    """The csv's rows; every form is rendered."""
    for render in (to_markdown, to_latex, to_html):
        assert render(table)
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def source(collected, kept, **steps):
    removed = [{"step": name.replace("_", " "), "removed": number} for name, number in steps.items()]
    return {"license": "MIT", "examples": 10, "weight": 10, "collected": collected, "steps": removed, "kept": kept}


@pytest.fixture
def cleaning():
    first = source(100, 60, duplicate=30, row_limit=4)
    first["steps"].append({"step": "duplicate", "removed": 6})  # within a source, and across them
    second = source(50, 45, empty=2, row_limit=3)
    return {"sources": {"a": first, "b": second}, "splits": {"train": 100, "dev": 2, "test": 3}}


@pytest.fixture
def found():
    found = Found()
    found.checked.update({"a": 1000, "b": 10})
    found.looked_up.update({"en": 1010, "de": 700, "sw": 20})
    found.without_evaluation_text.append("sw")
    for number, overlap in enumerate(("exact", "ngram", "ngram")):
        row = {"pair_id": f"p{number}", "source": "a", "lang": "de", "side": "query", "overlap": overlap}
        row |= {"share": 1.0 if overlap == "exact" else 0.75, "benchmark": "bench", "text_id": f"t{number}"}
        match = Match("bench", row["text_id"], overlap, row["share"], "Die Frage\nhier")
        found.add(row, "Die | Frage", match)
    return found


def test_steps_are_counted_by_source_and_for_all(cleaning, tmp_path):
    write_json(tmp_path / "en.json", cleaning)
    table = data.cleaning_table(data.read_cleaning(tmp_path / "en.json"), "stand-in data")
    first, second, total = rows_of(table)
    assert (table.name, table.data_mark) == ("data", "stand-in data")
    assert (first["removed.duplicate"], second["removed.duplicate"], total["removed.duplicate"]) == ("36", "", "36")
    assert (total["collected"], total["removed.row limit"], total["kept"]) == ("150", "7", "105")
    assert float(total["keep_rate"]) == pytest.approx(0.7)
    assert "dev: 2" in table.notes[0]


def test_one_source_has_no_row_of_sums(cleaning):
    del cleaning["sources"]["b"]
    assert len(data.cleaning_table(cleaning).rows) == 1


def test_counts_that_do_not_add_up_are_told(cleaning, tmp_path):
    cleaning["sources"]["b"]["kept"] = 46
    write_json(tmp_path / "en.json", cleaning)
    with pytest.raises(DataError, match="46 kept"):
        data.read_cleaning(tmp_path / "en.json")
    del cleaning["sources"]["b"]["steps"]
    write_json(tmp_path / "en.json", cleaning)
    with pytest.raises(DataError, match="steps"):
        data.read_cleaning(tmp_path / "en.json")


def test_pairs_by_source_then_texts_by_benchmark_language_and_side(found, tmp_path):
    write_json(tmp_path / "pairs.json", found.record())
    table = data.contamination_table(data.read_contamination(tmp_path / "pairs.json"))
    whole, place, clean = rows_of(table)
    assert (whole["source"], whole["checked"], whole["removed"], whole["removed_rate"]) == (
        "a",
        "1000",
        "3",
        "0.003",
    )
    assert (place["benchmark"], place["lang"], place["side"]) == ("bench", "de", "query")
    assert (place["texts.exact"], place["texts.normalised"], place["texts.ngram"]) == ("1", "0", "2")
    assert (clean["source"], clean["removed"]) == ("b", "0")
    assert table.notes == [
        "Pairs looked up by language: de: 700; en: 1,010.",
        "No evaluation text is in sw: only whole texts of others were to be found there.",
    ]


def test_examples_show_both_texts_in_one_line(found, tmp_path):
    write_json(tmp_path / "pairs.json", found.record())
    table = data.contamination_examples_table(data.read_contamination(tmp_path / "pairs.json"))
    assert [row["evaluation_text"] for row in rows_of(table)] == ["Die Frage hier"] * 3
    assert {row["share"] for row in rows_of(table)} == {"1.0", "0.75"}


def test_no_overlap_is_said_in_words():
    found = Found()
    found.checked.update({"a": 5})
    for make in (data.contamination_table, data.contamination_examples_table):
        assert make(found.record()).notes == ["No training text overlaps with evaluation text."]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda value: value.pop("checked"), "checked"),
        (lambda value: value["counts"][0].pop("side"), "side"),
        (lambda value: value["examples"][0].pop("share"), "share"),
        (lambda value: value["removed"].update(b=11), "add up"),
        (lambda value: value["removed"].update(a=0), "add up"),
    ],
)
def test_damaged_statistics_are_told(found, tmp_path, damage, told):
    value = found.record()
    damage(value)
    write_json(tmp_path / "pairs.json", value)
    with pytest.raises(DataError, match=told):
        data.read_contamination(tmp_path / "pairs.json")


def test_exposure_has_a_row_an_encoder_and_benchmark(tmp_path):
    record = exposure({"tiny": {"model": None}}, {"test": {}, "nq": {"adapter": "mteb", "task": "NQ"}})
    write_json(tmp_path / "exposure.json", record)
    table = data.exposure_table(data.read_exposure(tmp_path / "exposure.json"))
    assert [row["status"] for row in rows_of(table)] == ["own held-out text", "unknown"]
    assert table.notes == []
    assert "mteb 2.0" in data.exposure_table({**record, "mteb": "2.0"}).notes[0]
    record["exposure"][0]["status"] = "perhaps"
    write_json(tmp_path / "exposure.json", record)
    with pytest.raises(DataError, match="perhaps"):
        data.read_exposure(tmp_path / "exposure.json")


def test_supplied_translations(tmp_path: Path) -> None:
    """A table of sources and languages, from files that are checked to add up."""
    steps = [{"step": "empty", "removed": 2}, {"step": "query equals passage", "removed": 1}]
    for lang, of in (("de", {"read": 10, "steps": steps, "kept": 7}), ("fr", {"read": 4, "steps": [], "kept": 4})):
        write_json(tmp_path / f"{lang}.json", {"lang": lang, "sources": {"mine": of}})
    table = supplied_table(read_supplied([tmp_path / "de.json", tmp_path / "fr.json"]))
    assert [[cell.value for cell in row] for row in table.rows] == [
        ["mine", "de", 10, 2, 1, 7, 0.7],
        ["mine", "fr", 4, 0, 0, 4, 1.0],
    ]
    assert supplied_table([]).notes == ["No source comes with translations into a language that is trained on."]
    write_json(tmp_path / "de.json", {"lang": "de", "sources": {"mine": {"read": 10, "steps": steps, "kept": 8}}})
    with pytest.raises(DataError, match="do not add up"):
        read_supplied([tmp_path / "de.json"])
