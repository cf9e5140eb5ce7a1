"""LibreOffice's help: what a page says, which sections become pairs, and what counts as a translation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_packages import help_package, page, recorded

from polybatch.collect.adapters.libreoffice import LibreOffice, options_of
from polybatch.collect.adapters.libreoffice_pages import Block, blocks
from polybatch.collect.english import main as collect_main
from polybatch.collect.one_source import collect_source
from polybatch.collect.one_source import main as collect_source_main
from polybatch.collect.options import CleaningOptions
from polybatch.core.contracts import COLLECTED, SOURCE_PAIRS, STRINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet
from polybatch.prefetch.fetch_help import fetch_help
from polybatch.translation.strings import main as strings_main

SPEC = {"name": "help", "adapter": "libreoffice", "license": "MPL-2.0", "min_words": 4, "max_words": 12}
GENERIC = '<h2 id="hd_id9">Parameters:</h2><p id="par_id9">What the function is given to work on.</p>'


def section(number: int, heading: str, *paragraphs: str) -> str:
    below = [f'<p id="par_id{number}{i}" class="paragraph">{text}</p>' for i, text in enumerate(paragraphs)]
    return "\n".join([f'<h2 id="hd_id{number}" dir="auto">{heading}</h2>', *below])


ENGLISH = {
    "swriter/a.html": section(1, "Saving", "Choose <b>File</b> - Save.", "Then enter a name.")
    + section(2, "Closing", "Choose File and then choose Close.")
    + GENERIC,
    "scalc/b.html": section(1, "Sums", "Adds all numbers of a range.") + GENERIC.replace("What", "All that"),
    "scalc/c.html": section(1, "Totals", "Adds all numbers of a range."),
}
GERMAN = {
    "swriter/a.html": section(1, "Speichern", "Wählen Sie Datei - Speichern.", "Geben Sie einen Namen ein.")
    + section(2, "Schließen", "Choose File and then choose Close.")
    + GENERIC.replace("Parameters", "Parameter"),
    "scalc/b.html": section(1, "Summen", "Addiert alle Zahlen.") + GENERIC,
    "scalc/c.html": section(1, "Summe", "Addiert alle Zahlen."),
}


def texts(body: str) -> list[tuple[str, str]]:
    return [(block.identity, block.text) for block in blocks(page(body)) if block.text]


def test_text_is_what_a_person_reads() -> None:
    body = """<h1 id="hd_id1"><a name="x"></a>Replacing &amp; more:</h1>
      <p id="par_id1">Open the <span class="emph">&lt;Replacement
        Suggestions&gt;</span>&nbsp;list<br>now: a&lt;b.</p>
      <p id="par_id2">Click the icon <img src="a.svg" alt="An icon">.</p>
      <p id="par_id3">Press <span class="switchinline"><span class="MAC">Command</span><span>Ctrl</span></span>+A.</p>"""
    assert texts(body) == [
        ("hd_id1", "Replacing & more"),
        ("par_id1", "Open the <Replacement Suggestions> list now: a<b."),
        ("par_id2", "Click the icon."),
        ("par_id3", "Press Ctrl+A."),
    ]


@pytest.mark.parametrize(
    "other",
    [
        '<table><tr><td><p id="par_id2" class="tablecontentintable">A cell</p></td></tr></table>',
        '<pre><code id="bas_id2">Print 1</code></pre>',
        '<p id="par_id2" class="code">Print 1</p>',
        '<p id="par_id2" class="paragraph"><a href="b.html">Another page</a>.</p>',
        '<div class="embedded"><p id="par_id2">Of another page.</p></div>',
        '<div class="howtoget"><p class="howtogetheader">To access this command...</p><p id="par_id2">Click.</p></div>',
        '<div class="relatedtopics"><p class="related">Related Topics</p><p id="par_id2">More.</p></div>',
        '<div class="icontable"><div class="iconcell"><p id="par_id2">Icon</p></div></div>',
        '<span class="switch"><span class="MAC"><p id="par_id2">On a Mac.</p></span><span><p>Elsewhere.</p></span></span>',
    ],
)
def test_what_is_no_text_of_the_page_is_left_out(other: str) -> None:
    found = texts(f'<p id="par_id1">Before.</p>{other}<p id="par_id3">After.</p>')
    assert [(identity, text) for identity, text in found if identity] == [
        ("par_id1", "Before."),
        ("par_id3", "After."),
    ]


def test_an_id_that_comes_twice_names_nothing() -> None:
    assert texts('<p id="par_id1">One.</p><p id="par_id1">Two.</p>') == [("", "One."), ("", "Two.")]
    assert blocks(b"") == blocks(b"<p id='par_id1'>No page of help</p>") == []
    assert blocks(page('<div class="embedded"><h2 id="hd_id1">Other</h2></div>')) == [Block("", "", True)]


def test_pairs_are_headings_with_what_stands_below_them(tmp_path: Path) -> None:
    source = LibreOffice(SPEC, recorded(tmp_path, {"en": ENGLISH}))
    pairs = list(source.english())
    assert [(pair.query, pair.passage, pair.document) for pair in pairs] == [
        ("Saving", "Choose File - Save. Then enter a name.", "help/swriter/a.html"),
        ("Closing", "Choose File and then choose Close.", "help/swriter/a.html"),
    ]
    assert len({pair.pair_id for pair in pairs}) == 2
    assert source.dropped == {"heading in several places": 2, "passage in several places": 2}
    record = collect_source(source, CleaningOptions(), tmp_path / "help.parquet")
    assert (record["collected"], record["kept"], record["license"]) == (6, 2, "MPL-2.0")
    assert set(read_parquet(tmp_path / "help.parquet", SOURCE_PAIRS).column("document").to_pylist()) == {
        "help/swriter/a.html"
    }


def test_passages_end_within_the_limit_and_announce_nothing_that_is_left_out(tmp_path: Path) -> None:
    long = "one two three four five six"
    body = (
        section(1, "Cut", long, long, "seven")
        + section(2, "Announced", "Type the following line:")
        + '<pre id="bas_id1">Print 1</pre><p id="par_id24">Then press the key and wait.</p>'
        + section(3, "At the end", "A sentence that stands alone.", "As follows:")
        + '<div class="embedded"><h2 id="hd_id7">Other</h2></div><p id="par_id39">Belongs to the other heading.</p>'
        + section(4, "Too long", " ".join([long] * 3))
        + section(5, "Too short", "Two words.")
    )
    source = LibreOffice(SPEC, recorded(tmp_path, {"en": {"a.html": body}}))
    assert {pair.query: pair.passage for pair in source.english()} == {
        "Cut": f"{long} {long}",
        "Announced": "Then press the key and wait.",
        "At the end": "A sentence that stands alone.",
    }
    assert source.dropped == {
        "heading without a paragraph of at most max_words": 1,
        "passage of less than min_words": 1,
    }


def test_what_is_left_in_english_is_no_translation_and_is_counted(tmp_path: Path) -> None:
    source = LibreOffice(SPEC, recorded(tmp_path, {"en": ENGLISH, "de": GERMAN}))
    english = {pair.pair_id: pair for pair in source.english()}
    german = list(source.translations("de"))
    assert [(english[pair.pair_id].query, pair.query, pair.passage) for pair in german] == [
        ("Saving", "Speichern", "Wählen Sie Datei - Speichern. Geben Sie einen Namen ein.")
    ]
    assert source.left_out == {"de": {"a part left in English": 1}}
    strings = list(source.strings("de"))
    assert ("Closing", "Schließen", "help/swriter/a.html") in strings
    assert ("Adds all numbers of a range.", "Addiert alle Zahlen.", "help/scalc/b.html") in strings
    assert "Choose File and then choose Close." not in {string.english for string in strings}


@pytest.mark.parametrize(
    ("text", "is_left"),
    [
        ("Choose File, and then choose Close!", True),
        ("Choose the Datei menu and then choose Close.", True),  # an earlier wording, half translated
        ("Choose File и затем Close, чтобы закрыть.", False),
        ("=SUMME(A1:B2) and then Close", False),
        ("「File」与「Close」可在 choose menu then and the 编辑、关闭这个文件。", False),
        ("मेन्यू पट्टी में File के साथ कार्य करने के choose then menu and Close कमांड हैं.", False),
    ],
)
def test_a_text_that_is_nearly_the_english_one_is_left_in_english(tmp_path: Path, text: str, is_left: bool) -> None:
    german = {"a.html": section(2, "Schließen", text)}
    english = {"a.html": section(2, "Closing", "Choose the File menu, and then choose Close.")}
    source = LibreOffice(SPEC, recorded(tmp_path, {"en": english, "de": german}))
    assert len(list(source.translations("de"))) == (not is_left)


def test_other_versions_are_told_and_other_ids_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = recorded(tmp_path, {"en": ENGLISH})
    help_package(tmp_path / "new", "de", {**GERMAN, "scalc/c.html": section(7, "Summe", "Anders.")}, "4:24.2.1-1")
    fetch_help("de", tmp_path, tmp_path / "de.json", tmp_path / "new")
    with pytest.raises(DataError, match="does not fit the English one") as caught:
        list(LibreOffice(SPEC, record).translations("de"))
    assert "84.6%" in str(caught.value)
    assert "English 4:7.4.7-1, de 4:24.2.1-1" in str(caught.value)
    loose = LibreOffice({**SPEC, "min_aligned": 0.8}, record)
    assert len(list(loose.translations("de"))) == 1
    assert "different versions" in caplog.text


def test_a_package_that_changed_or_was_not_fetched_is_refused(tmp_path: Path) -> None:
    record = recorded(tmp_path, {"en": ENGLISH})
    with pytest.raises(DataError, match="German was not fetched"):
        list(LibreOffice(SPEC, record).translations("de"))
    place = Path(read_json(record)["path"])
    help_package(place.parent, "en", {"a.html": section(1, "Other", "Another text.")})
    with pytest.raises(DataError, match="not as it was fetched"):
        LibreOffice(SPEC, record)
    place.unlink()
    with pytest.raises(DataError, match="no longer there"):
        LibreOffice(SPEC, record)


def test_languages_are_those_that_have_help_or_those_named() -> None:
    faults = {"min_words": 9, "max_words": 3, "languages": ["de", "th"], "pages": 1}
    with pytest.raises(ConfigError, match="pages"):
        options_of({**SPEC, **faults})
    faults.pop("pages")
    with pytest.raises(ConfigError) as caught:
        options_of({**SPEC, **faults})
    assert "languages: no help in th; there is: ca" in caught.value.found
    assert "min_words" in caught.value.found


def many_pages(count: int, lang: str) -> dict[str, str]:
    """Pages of three sections each, with a note in no pair that the next page has as well."""
    pages = {}
    for number in range(count):
        sections = [section(s, f"{lang} heading {number} {s}", f"{lang} passage on {number} of {s}.") for s in range(3)]
        notes = [section(7 + i, "Note", f"{lang} note {number + i}.") for i in range(2)]
        pages[f"{number:03d}.html"] = "".join([*sections, *notes])
    return pages


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pages in English and German, through the stages' command lines."""
    folder = tmp_path_factory.mktemp("study")
    record = recorded(folder, {"en": many_pages(60, "English"), "de": many_pages(60, "German")})
    spec, collected = json.dumps(SPEC), folder / "sources" / "help.parquet"
    collect_source_main(["--source", spec, "--file", str(record), "--output", str(collected)])
    files = ["--sources", f"[{spec}]", "--files", str(record), "--collected"]
    split = json.dumps({"test_passages": 20, "dev_passages": 10, "english_only": 0.3})
    english = str(folder / "collected" / "en.parquet")
    collect_main([*files, str(collected), "--split", split, "--parallel-in", "de", "--output", english])
    strings_main([*files, english, "--lang", "de", "--output", str(folder / "strings.parquet")])
    return folder


def pages_of(study: Path, wanted: Callable[[dict], bool]) -> set[str]:
    rows = read_parquet(study / "collected" / "en.parquet", COLLECTED).to_pylist()
    return {row["query"].split()[2] for row in rows if wanted(row)}


def test_pages_are_held_out_whole(study: Path) -> None:
    rows = read_parquet(study / "collected" / "en.parquet", COLLECTED).to_pylist()
    splits = {name: pages_of(study, lambda row, name=name: row["split"] == name) for name in ("train", "dev", "test")}
    assert [sum(row["split"] == name for row in rows) for name in ("test", "dev")] == [20, 10]
    assert (len(splits["test"]), len(splits["dev"])) == (7, 4)
    assert len(splits["train"] | splits["dev"] | splits["test"]) == 60 == sum(map(len, splits.values()))
    # One passage of the last page of test is in no split, and two of the last page of dev.
    steps = read_json(study / "collected" / "en.json")["sources"]["help"]["steps"]
    assert {step["step"]: step["removed"] for step in steps}["another passage of a held-out document"] == 3
    kinds = [pages_of(study, lambda row, kind=kind: row["kind"] == kind) for kind in ("parallel", "english_only")]
    assert kinds[1]
    assert not kinds[0] & kinds[1]


def test_translators_see_nothing_of_pages_that_they_are_scored_on(study: Path) -> None:
    secret = pages_of(study, lambda row: row["split"] != "train" or row["kind"] == "english_only")
    strings = read_parquet(study / "strings.parquet", STRINGS).to_pylist()
    passages = {row["english"].split()[3] for row in strings if "passage" in row["english"]}
    notes = {row["english"].removesuffix(".").split()[2] for row in strings if "note" in row["english"]}
    assert passages == {str(number) for number in range(60)} - secret
    shared = {str(int(number) + 1) for number in secret}
    assert notes == {str(number) for number in range(61)} - secret - shared


def test_what_translators_do_not_see_is_counted_by_page_and_by_text(study: Path) -> None:
    """A page has three headings, three passages and two notes; a note stands on two pages."""
    secret = {int(page) for page in pages_of(study, lambda r: r["split"] != "train" or r["kind"] == "english_only")}
    source = read_json(study / "strings.json")["sources"]["help"]
    removed = {step["step"]: step["removed"] for step in source["steps"]}
    seen = set(range(60)) - secret
    assert source["read"] == 60 * 8
    assert removed["document of a held-out or English-only pair"] == len(secret) * 8
    assert removed["text of such a document or pair, elsewhere"] == sum(n + d in secret for n in seen for d in (-1, 1))
    assert removed["repeated"] == sum(n + 1 in seen for n in seen)
    kept = len(read_parquet(study / "strings.parquet", STRINGS).to_pylist())
    assert source["kept"] == kept == 480 - sum(removed.values())


def test_pages_left_to_translators_are_whole_and_in_no_training(study: Path, tmp_path: Path) -> None:
    spec, record = json.dumps(SPEC), study / "en.json"
    files = ["--sources", f"[{spec}]", "--files", str(record), "--collected"]
    split = json.dumps({"test_passages": 20, "dev_passages": 10, "english_only": 0.3, "translators_only": 0.7})
    output = tmp_path / "en.parquet"
    collected = str(study / "sources" / "help.parquet")
    collect_main([*files, collected, "--split", split, "--parallel-in", "de", "--output", str(output)])
    before, after = (read_parquet(path, COLLECTED).to_pylist() for path in (study / "collected/en.parquet", output))
    assert after == [row for row in before if row["split"] != "train" or row["kind"] == "english_only"]
    strings_main([*files, str(output), "--lang", "de", "--output", str(tmp_path / "strings.parquet")])
    seen = {row["string_id"] for row in read_parquet(study / "strings.parquet", STRINGS).to_pylist()}
    assert {row["string_id"] for row in read_parquet(tmp_path / "strings.parquet", STRINGS).to_pylist()} == seen
    steps = {step["step"]: step["removed"] for step in read_json(tmp_path / "en.json")["sources"]["help"]["steps"]}
    assert steps["left to translators"] == len(before) - len(after)
    assert steps["another passage of a held-out document"] == 3
