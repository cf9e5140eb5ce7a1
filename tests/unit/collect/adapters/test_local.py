"""The user's own files: every format gives the same pairs, every fault is told with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polybatch.collect.adapters.local import LocalSource
from polybatch.core.errors import DataError, PolybatchError

ROWS = [
    {"id": "1", "lang": "en", "question": "Turn on", "answer": "Turns on the lamp."},
    {"id": "1", "lang": "de", "question": "Einschalten", "answer": "Schaltet die Lampe ein."},
    {"id": "2", "lang": "en", "question": "Turn off, now", "answer": "Turns off the lamp."},
]
COLUMNS = {"query": "question", "passage": "answer", "lang": "lang", "group": "id"}


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [mark.join(rows[0]), *(mark.join(f'"{v}"' for v in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def source(path: Path, **spec: object) -> LocalSource:
    return LocalSource({"name": "mine", "columns": COLUMNS, **spec}, path)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_formats_agree(tmp_path: Path, ending: str) -> None:
    mine = source(write(tmp_path / f"mine.{ending}", ROWS))
    assert [(p.query, p.passage) for p in mine.english()] == [
        ("Turn on", "Turns on the lamp."),
        ("Turn off, now", "Turns off the lamp."),
    ]
    german = list(mine.translations("de"))
    assert mine.languages == ("de",)
    assert [p.query for p in german] == ["Einschalten"]
    assert german[0].pair_id == next(mine.english()).pair_id


def test_squad(tmp_path: Path) -> None:
    question = {"id": "q1", "question": "What turns on?", "answers": [{"text": "lamp", "answer_start": 4}]}
    document = {"data": [{"paragraphs": [{"context": "The lamp turns on.", "qas": [question]}]}]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(document), "utf-8")
    pairs = list(LocalSource({"name": "squad"}, path).english())
    assert [(p.query, p.passage) for p in pairs] == [("What turns on?", "The lamp turns on.")]


def test_english_alone_needs_no_lang_column(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"query": "a", "passage": "b c"}])
    assert len(list(LocalSource({"name": "mine"}, path).english())) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "3", "lang": "en", "question": " ", "answer": "x"}, "line 4: empty question"),
        ({"id": "3", "lang": "en", "question": "x"}, "line 4: no column answer"),
        ({"id": "3", "lang": "xx", "question": "x", "answer": "y"}, "line 4: unknown language 'xx'"),
        ({"id": "1", "lang": "de", "question": "x", "answer": "y"}, "line 4: group '1' comes twice in de"),
        (
            {"id": "3", "lang": "en", "question": "x", "answer": "y", "hard_negatives": "z"},
            "line 4: hard_negatives is text, no list of texts: 'z'",
        ),
        ({"id": None, "lang": "de", "question": "x", "answer": "y"}, "line 4: a language but no id"),
    ],
)
def test_faulty_rows_are_named(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        source(write(tmp_path / "mine.jsonl", [*ROWS, row]))
    assert message in str(caught.value)


def test_all_faulty_rows_are_told_at_once(tmp_path: Path) -> None:
    bad = [{"id": str(i), "lang": "en", "question": "", "answer": "x"} for i in range(10, 25)]
    with pytest.raises(DataError, match=r"15 row\(s\)") as caught:
        source(write(tmp_path / "mine.jsonl", ROWS + bad))
    assert "line 4" in str(caught.value)
    assert "and 5 more" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,lang,question,answer\n1,en,caf\xe9,x\n".encode("latin-1"))
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", "utf-8")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(write(tmp_path / "mine.parquet", ROWS).read_bytes()[:-9])
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    cases = {
        latin: "line 2",
        broken: "line 1",
        cut: "truncated",
        empty: "holds no row",
        tmp_path / "no.jsonl": "missing",
    }
    for path, message in cases.items():
        with pytest.raises(PolybatchError, match=message):
            source(path)
    with pytest.raises(PolybatchError, match="format"):
        source(write(tmp_path / "mine.xyz", ROWS))


def fault(tmp_path: Path, rows: list[dict], name: str = "mine.jsonl", **spec: object) -> str:
    """The words with which a file is refused."""
    with pytest.raises(PolybatchError) as caught:
        LocalSource({"name": "mine", **spec}, write(tmp_path / name, rows))
    return str(caught.value)


def pair(**row: object) -> dict:
    return {"query": "turn on", "passage": "Turns on the lamp.", **row}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (pair(passage=["Turns on.", "Starts."]), "line 1: passage is a list, not text: ['Turns on.', 'Starts.']"),
        (pair(query={"en": "on"}), "line 1: query is an object"),
        (pair(query=7), "line 1: query is a number, not text: 7"),
        (pair(query=None), "line 1: empty query"),
        (pair(passage=float("nan")), "line 1: empty passage"),
        (pair(passage="\u200b \ufeff"), "line 1: empty passage (invisible characters alone)"),
        (pair(query="so \ud83d"), "line 1: query holds half a surrogate pair"),
        (pair(lang=False), "line 1: lang is true or false, not text"),
        (pair(lang="", group="1"), "line 1: empty lang: write en for English"),
        (pair(lang="de", group=[1]), "line 1: group is a list, not an id"),
        (pair(lang="de", group=" "), "line 1: a language but no group"),
        (pair(hard_negatives=["a", 3]), "line 1: hard_negatives[1] is a number"),
        (pair(hard_negatives="a"), "line 1: hard_negatives is text, no list"),
    ],
)
def test_values_of_another_type_are_refused_with_line_and_column(tmp_path: Path, row: dict, words: str) -> None:
    assert words in fault(tmp_path, [row])


def test_values_of_parquet_are_typed_too(tmp_path: Path) -> None:
    assert "row 1: query is bytes" in fault(tmp_path, [pair(query=b"a")], "mine.parquet")
    assert "row 1: passage is a list" in fault(tmp_path, [pair(passage=["a"])], "mine.parquet")
    path = write(tmp_path / "ids.parquet", [pair(group=1, lang="en"), pair(group=1, lang="de", query="an")])
    assert [p.query for p in LocalSource({"name": "mine"}, path).translations("de")] == ["an"]


def test_a_key_that_comes_twice_and_depth_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    deep = '{"query": "a", "passage": "b", "x": ' + "[" * 80_000 + "\n"
    path.write_text('{"query": "a", "query": "b", "passage": "c"}\n' + deep + "{\n[1]\n", "utf-8")
    with pytest.raises(DataError, match=r"4 row\(s\)") as caught:
        LocalSource({"name": "mine"}, path)
    for words in (
        "line 1: the key 'query' is given twice",
        "line 2: nested deeper",
        "line 3: no JSON",
        "line 4: no JSON object",
    ):
        assert words in str(caught.value)


def test_missing_hard_negatives_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [pair(hard_negatives=["other", None]), pair(query="x", hard_negatives=None)])
    assert [p.hard_negatives for p in LocalSource({"name": "mine"}, path).english()] == [["other", ""], []]


PLAIN = [
    "It waits while i <n holds and x> 0.",
    "2**3**2 is 512, and f(*args, **kwargs) is a call.",
    "- 5 degrees, # 1 song",
    "<Replacement Suggestions>",
    "List<String> of my__long__name",
    "Tom &amp; Jerry, <b>bold</b>, [link](https://x.org)",
]


def test_plain_text_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [pair(passage=text) for text in PLAIN])
    source = LocalSource({"name": "mine"}, path)
    assert [p.passage for p in source.english()] == PLAIN
    assert source.markup == {}


def test_markup_is_taken_out_where_a_source_has_it_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [pair(passage=text) for text in PLAIN])
    html = LocalSource({"name": "mine", "markup": "html"}, path)
    assert [p.passage for p in html.english()] == [*PLAIN[:5], "Tom & Jerry, bold, [link](https://x.org)"]
    assert html.markup == {"rows": 1, "marks": 3}
    markdown = LocalSource({"name": "mine", "markup": "markdown"}, path)
    assert [p.passage for p in markdown.english()][2:] == [
        "5 degrees, # 1 song",
        *PLAIN[3:5],
        "Tom & Jerry, bold, link",
    ]
    assert "empty passage once its markup is taken out" in fault(tmp_path, [pair(passage="<br>")], markup="html")


def test_rows_without_an_english_one_are_told_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    groups = [("a", "a "), ("1", "1.0"), ("1x", "01x"), ("same", "same"), ("gone", "other")]
    rows = [pair(lang="en", group=english, query=f"q {english}") for english, _ in groups]
    rows += [pair(lang="de", group=german, query=f"de {german}") for _, german in groups]
    source = LocalSource({"name": "mine"}, write(tmp_path / "mine.jsonl", rows))
    assert [p.query for p in source.translations("de")] == ["de same"]
    assert source.left_out == {"de": {"no English pair": 4}}
    assert "4 of 5 rows in de have no English row" in caplog.text
    assert (
        "line 6, group 'a ', while an English row has 'a'; line 7, group '1.0', while an English row has '1'"
        in caplog.text
    )
    none = [pair(lang="en", group="1"), pair(lang="de", group="2")]
    assert "No row in de has an English row of its group" in fault(tmp_path, none)


def test_groups_that_come_twice_are_told_among_the_other_faults(tmp_path: Path) -> None:
    rows = [pair(lang="en", group="1"), pair(lang="de", group="1"), pair(query=""), pair(lang="de", group="1")]
    told = fault(tmp_path, [*rows, pair(lang="en", group="1"), pair(lang="de", group="1")])
    assert "4 row(s) of the source cannot be used" in told
    places = ["line 3: empty query", "line 4: group '1' comes twice in de (first in line 2)"]
    places += ["line 5: group '1' comes twice in en (first in line 1)", "line 6: group '1' comes twice in de"]
    assert "; ".join(places) in told


def test_translations_find_their_english_row_wherever_it_stands(tmp_path: Path) -> None:
    order = [i * 7 % 50 for i in range(50)]
    rows = [pair(lang=lang, group=f"g{i}", query=f"{lang} {i}") for lang in ("de", "en") for i in order]
    order.sort()
    rows += [pair(lang="fr", group=f"g{i}", query=f"fr {i}", passage="é") for i in order]
    source = LocalSource({"name": "mine"}, write(tmp_path / "mine.jsonl", [*rows, pair(query="alone")]))
    ids = {found.query.removeprefix("en "): found.pair_id for found in source.english()}
    assert len(set(ids.values())) == 51
    for lang in ("de", "fr"):
        found = list(source.translations(lang))
        assert len(found) == 50
        assert all(one.pair_id == ids[one.query.removeprefix(f"{lang} ")] for one in found)
        texts = list(source.strings(lang))
        assert len(texts) == 100
        assert {text.text for text in texts[1::2]} == {"é" if lang == "fr" else "Turns on the lamp."}
        assert all(text.english[2:] == text.text[2:] for text in texts[::2])


def test_formats_go_by_the_name_and_may_be_compressed(tmp_path: Path) -> None:
    question = {"id": 7, "question": "What turns on?", "answers": []}
    squad = {"data": [{"paragraphs": [{"context": "The lamp.", "qas": [question, {"id": 8, "question": "What?"}]}]}]}
    contents = {
        "squad.json.gz": json.dumps(squad),
        "mine.CSV.gz": "query,passage\nWhat?,The lamp.\n",
        "mine.tsv.gz": "query\tpassage\nWhat?\tThe lamp.\n",
        "mine.ndjson.gz": '{"query": "What?", "passage": "The lamp."}\n',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        source = LocalSource({"name": "mine"}, tmp_path / name)
        assert [(p.query, p.passage) for p in source.english()] == [("What?", "The lamp.")]
        assert source.dropped == ({"question without an answer": 1} if "squad" in name else {})


def test_a_folder_and_a_needless_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolybatchError, match="is a folder"):
        LocalSource({"name": "mine", "format": "jsonl"}, tmp_path)
    assert "delimiter of the source" in fault(tmp_path, [pair()], delimiter=";")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_impossible": "true"}, "is_impossible is neither true nor false: 'true'"),
        ({"is_impossible": 1}, "is_impossible is neither true nor false: 1"),
        ({"answers": {"text": [], "answer_start": []}}, "answers is no list of objects"),
        ({"answers": None}, "answers is no list of objects"),
    ],
)
def test_what_says_whether_a_question_has_an_answer_is_typed(tmp_path: Path, change: dict, words: str) -> None:
    question = {"id": "q1", "question": "What?", "answers": [{"text": "x", "answer_start": 0}], **change}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "x y", "qas": [question]}]}]}), "utf-8")
    with pytest.raises(DataError) as caught:
        LocalSource({"name": "squad"}, path)
    assert f"data[0].paragraphs[0].qas[0]: {words}" in str(caught.value)


@pytest.mark.parametrize("kind", [pa.date32(), pa.duration("s"), pa.timestamp("us")])
def test_values_that_python_cannot_hold_are_told(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "mine.parquet"
    group = pa.array([2**31 - 1 if kind == pa.date32() else 2**62], kind)
    pq.write_table(pa.table({"query": ["a"], "passage": ["b"], "group": group}), path)
    with pytest.raises(DataError, match="cannot be read"):
        LocalSource({"name": "mine"}, path)


def test_texts_that_look_like_printed_values_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("query,passage\na,nan\nb,\"['c', 'd']\"\ne,none of these\n", "utf-8")
    assert len(list(LocalSource({"name": "mine"}, path).english())) == 3
    assert "2 texts look like printed missing values or lists" in caplog.text
    assert "line 2, passage 'nan'; line 3, passage" in caplog.text
