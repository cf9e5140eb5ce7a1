"""The first page of a version."""

from __future__ import annotations

import base64
import html
import re

import pytest
import synthetic_study as synthetic

from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.make import make
from polybatch.tables.story import _data
from polybatch.tables.verdicts import cost_sentences, significance_sentences
from polybatch.tables.versions.versions import newest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A version of a small study with every kind of part: two benchmarks, published scores, a projection."""
    base, root = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("tables")
    for sampling, seed in (("untrained", -1), ("x-x-mono", 0), ("x-y", 0), ("hybrid", 0)):
        synthetic.write_run(base, sampling, seed, groups=12)
    synthetic.write_run(base, "hybrid", 0, groups=12, projection="centring")
    lines = [f"Paper,tiny,{name},test,multilingual,map,{value}" for name, value in (("x-y", 0.4), ("hybrid", 0.5))]
    path = base / "published.csv"
    path.write_text("\n".join(["source,encoder,sampling,benchmark,setting,metric,value", *lines]) + "\n", "utf-8")
    config = synthetic.config(tables={"published": str(path)}, data_mark="toy <data>")
    config = synthetic.with_grid(config, {"sampling": "x-y"}, {"sampling": "hybrid", "alphas": [0.5]}, trained="en")
    make(synthetic.inputs(base, config), root, root / "latest")
    return root / "latest"


def test_the_page_tells_in_the_order_in_which_a_reader_asks(folder):
    page = (folder / "summary.html").read_text("utf-8")
    parts = ["toy &lt;data&gt;", "A retriever over passages", "What came out on test", "As it comes, ", "<picture>"]
    parts += ["<table>", "How to read this table", "compared with hybrid-a0.5", "published order", "What it cost"]
    parts += ["Where the data came from", "Made 20", "All else"]
    plain = re.sub(r'<span class="name">([^<]*)</span>', r"\1", page)
    places = [plain.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_pairs_that_are_held_out_are_not_said_to_be_trained_on():
    columns = [text_column("source", "source"), text_column("license", "licence"), Column("kept", "kept")]
    table = Table("data", "", "", columns, [[Cell("faq"), Cell("CC0"), Cell(1200)]])
    told = _data({"languages": {"train": ["en"], "evaluate": ["en"]}}, [table])
    assert told == "faq (CC0), 1,200 pairs kept, those held out among them. Trained on en; evaluated on en."


def test_the_page_loads_nothing_and_links_to_every_table_and_figure(folder):
    page = (folder / "summary.html").read_text("utf-8")
    assert not re.findall(r'(?:src|srcset|href)="(?!data:)[^"]*(?://|\.\.)', page)
    assert not re.search(r"@import|url\(", page)
    linked = re.findall(r'href="([^"]+)"', page)
    assert len(linked) == len(set(linked))
    assert all((folder / name).is_file() for name in linked)
    made = {path.name for path in folder.iterdir() if path.suffix in (".html", ".svg")} - {"summary.html"}
    assert made <= set(linked)


def test_narrow_screens_get_the_picture_with_its_panels_below_one_another(folder):
    page = (folder / "summary.html").read_text("utf-8")
    found = re.findall(r'src(?:set)?="data:image/svg\+xml;base64,([^"]+)"', page)
    narrow, wide = (base64.b64decode(coded).decode() for coded in found)
    assert wide == (folder / "first_passages-test.svg").read_text("utf-8")
    sizes = [re.search(r'width="(\d+)" height="(\d+)"', svg) for svg in (narrow, wide)]
    (thin, tall), (broad, low) = ((int(size[1]), int(size[2])) for size in sizes if size)
    assert thin < 0.65 * broad
    assert tall > 1.4 * low
    assert '<meta name="viewport"' in page


def test_readme_and_page_say_the_same(folder):
    page, readme = ((folder / name).read_text("utf-8") for name in ("summary.html", "README.md"))
    plain = html.unescape(re.sub(r"<[^>]+>", "", page))
    cost = newest(folder.parent).table("cost-test")
    for sentence in [*significance_sentences(cost), *cost_sentences(cost)]:
        assert sentence in plain
        assert sentence in readme


def test_what_is_significant_is_said_setting_by_setting(folder):
    cost = newest(folder.parent).table("cost-test")
    within, across, pool, ranks = significance_sentences(cost)
    assert within.startswith("Within a language, mAP: ")
    assert "worse: untrained, x-y" in within
    assert "worse: untrained, x-x-mono" in across
    assert pool.startswith("In the mixed pool, mAP: ")
    assert ranks.startswith("In the mixed pool, rank distance: ")
    assert "hybrid-a0.5," not in across.replace("hybrid-a0.5, centring", "")  # not compared with itself


def test_costs_say_what_search_needs(folder):
    told = " ".join(cost_sentences(newest(folder.parent).table("cost-test")))
    assert "A training took 1.5 minutes and 100 steps (2 CPU cores)." in told
    assert "some arms need more than their model: the language of every text: hybrid-a0.5, centring." in told


def test_many_arms_are_counted():
    columns = [text_column("sampling", "sampling"), Column("m.map.difference", "mAP", "Monolingual", digits=3)]
    rows = [[Cell(f"arm{place}"), Cell(0.1, p=0.01, mark="better")] for place in range(9)]
    table = Table("cost-test", "", "", columns, [*rows, [Cell("open"), Cell(0.0, p=0.9)], [Cell("self"), Cell(0.0)]])
    assert significance_sentences(table) == [
        "Within a language, mAP: better: arm0, arm1, arm2, arm3, arm4, arm5 and 3 more; no significant difference: open."
    ]


def test_a_study_without_trainings_has_no_sentence_of_them():
    keys = ("text.device", "text.encoding", "text.search", "minutes", "steps")
    columns = [text_column("sampling", "sampling"), *(Column(key, key, digits=1) for key in keys)]
    table = Table("cost-t", "", "", columns, [[Cell("untrained"), *map(Cell, ("–", "none", "nothing", 0.0, 0))]])
    assert cost_sentences(table) == [
        "At search, no arm needs more than its model, and none needs texts encoded once more."
    ]
