"""Published scores beside ours."""

import csv
import io
from pathlib import Path

import pytest
import synthetic_study as synthetic

from polybatch.core.errors import DataError
from polybatch.tables.forms.table import to_csv
from polybatch.tables.published import published_table, read_published
from polybatch.tables.scores import View
from polybatch.tables.summary import summarise

HEADER = "source,encoder,sampling,benchmark,setting,metric,value"
SHIPPED = sorted((Path(__file__).parents[3] / "workflow" / "studies" / "published").glob("*.csv"))


def write(path, *lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        for sampling in ("x-y", "hybrid"):
            synthetic.write_run(base, sampling, seed, groups=5)
    return View(summarise(sorted(base.rglob("scores/**/test.parquet"))), "test")


def test_ours_the_published_value_and_the_difference_stand_side_by_side(view, tmp_path):
    path = write(
        tmp_path / "p.csv",
        "Paper,tiny,hybrid,test,monolingual,map,0.8",
        "Paper,tiny,hybrid,test,multilingual,rank_distance,20",
        "Paper,tiny,x-y,test,monolingual,map,0.1",
        "Paper,large,x-y,test,monolingual,map,0.9",
        "Paper,tiny,x-y,other,monolingual,map,0.9",
    )
    published = read_published([path])
    assert {row.benchmark for row in published} == {"test", "other"}
    table = published_table(view, published)
    rows = {row["sampling"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert set(rows) == {"x-y", "hybrid-a0.5"}
    ours = view.macro()[view.arms[1], "monolingual", "map"]
    found = rows["hybrid-a0.5"]
    assert float(found["monolingual.map.ours"]) == pytest.approx(sum(ours) / 2)
    assert float(found["monolingual.map.difference"]) == pytest.approx(sum(ours) / 2 - 0.8)
    assert (found["multilingual.rank_distance.published"], found["source"]) == ("20.0", "Paper")
    assert rows["x-y"]["multilingual.rank_distance.difference"] == ""
    assert any("not run here: large x-y" in note for note in table.notes)


def test_a_study_without_any_of_the_published_runs_says_so(view, tmp_path):
    path = write(tmp_path / "p.csv", "Paper,large,x-y,test,monolingual,map,0.9")
    table = published_table(view, read_published([path]))
    assert table.rows == []
    assert table.notes == ["Published too, but not run here: large x-y."]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Paper,tiny,x-y,test,bilingual,map,0.9", "setting cannot be 'bilingual'"),
        ("Paper,tiny,x-z,test,monolingual,map,0.9", "sampling cannot be 'x-z'"),
        ("Paper,tiny,x-y,test,monolingual,mAP,0.9", "metric cannot be 'mAP'"),
        ("Paper,tiny,x-y,test,monolingual,map,nan", "value cannot be 'nan'"),
        (",tiny,x-y,test,monolingual,map,0.9", "source cannot be ''"),
        ("Paper,tiny,hybrid-a0.5,test,monolingual,map,0.9", "line 3: this value stands twice"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_line(tmp_path, line, words):
    path = write(tmp_path / "p.csv", "Paper,tiny,hybrid,test,monolingual,map,0.8", line)
    with pytest.raises(DataError) as error:
        read_published([path])
    assert words in str(error.value)
    assert "line 3" in str(error.value)


def test_missing_columns_and_files_are_told(tmp_path):
    with pytest.raises(DataError, match="no column metric; no column value"):
        read_published([write(tmp_path / "p.csv", header="source,encoder,sampling,benchmark,setting")])
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\nM\xfcller,tiny,x-y,test,monolingual,map,0.9\n")
    with pytest.raises(DataError, match=r"no csv in UTF-8"):
        read_published([tmp_path / "latin.csv"])
    with pytest.raises(DataError, match=r"tables\.published"):
        read_published([tmp_path / "nothing.csv"])


def test_the_published_numbers_that_come_with_polybatch_are_sound(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # relative paths are found from anywhere
    rows = read_published([path.relative_to(SHIPPED[0].parents[3]) for path in SHIPPED])
    values = {(r.encoder, r.sampling, r.benchmark, r.setting, r.metric): r.value for r in rows}
    assert len(rows) == 60 + 4
    assert values["labse", "hybrid-a0.5", "mlqa-r", "multilingual", "rank_distance"] == 195
    assert values["xlm-r", "x-y", "xquad-r", "cross_lingual", "map"] == 0.700
    assert values["mbert-cased", "x-y", "xquad-r", "multilingual", "map"] == 0.66
