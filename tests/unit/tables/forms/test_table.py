"""The forms of a table."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from polybatch.tables.forms.latex import latex_escape, to_latex
from polybatch.tables.forms.table import Cell, Column, Table, mark_best, text_column, to_csv, to_markdown
from polybatch.tables.forms.terminal import to_terminal
from polybatch.tables.forms.webpage import to_html


@pytest.fixture
def table():
    return mark_best(
        Table(
            name="main-test",
            title="Scores & more",
            caption="100% of it, a_b.",
            columns=[
                text_column("sampling", "sampling"),
                Column("mono.map", "mAP", "Mono", digits=3, better="higher"),
                Column("multi.rank", "rank distance", "Multi", digits=1, better="lower"),
            ],
            rows=[
                [Cell("x-y"), Cell(0.1234567890123, 0.01, 3, 0.02, "worse"), Cell(12.0, 1.0, 3)],
                [Cell("hybrid_a"), Cell(0.2, 0.02, 3), Cell(9.5, 0.5, 3)],
                [Cell("<broken>"), Cell(None), Cell(float("nan"))],
            ],
            notes=["p < 0.05"],
            data_mark="stand-in data",
        )
    )


def test_a_table_is_read_back_from_its_short_form_with_every_digit():
    cells = [Cell("x-y"), Cell(0.1234567890123456, 0.01, 3, 0.02, "worse", best=True), Cell(None), Cell(None, count=3)]
    columns = [text_column("sampling", "sampling"), *(Column(f"c{i}", "mAP", digits=i) for i in range(3))]
    plain = Table("main-test", "Scores", "Caption.", columns, [cells])
    noted = replace(plain, notes=["p < 0.05"], data_mark="stand-in data", volatile=True)
    for table in (plain, noted):
        written = json.loads(json.dumps(table.to_file()))
        assert Table.from_dict(written) == table == Table.from_dict(table.to_dict())
    assert plain.to_file()["rows"][0][::2] == ["x-y", None]
    assert plain.to_file()["rows"][0][3] == {"value": None, "count": 3}


def test_best_follows_the_columns_direction(table):
    assert [[cell.best for cell in row] for row in table.rows] == [
        [False, False, False],
        [False, True, True],
        [False, False, False],
    ]


def test_csv_has_full_precision_and_no_number_for_what_is_missing(table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(rows[0]["mono.map"]) == 0.1234567890123
    assert (rows[0]["mono.map_sd"], rows[0]["mono.map_p"], rows[0]["mono.map_mark"]) == ("0.01", "0.02", "worse")
    assert (rows[2]["mono.map"], rows[2]["multi.rank"]) == ("", "")


@pytest.mark.parametrize("render", [to_csv, to_markdown, to_latex, to_html])
def test_every_form_says_that_the_data_is_a_stand_in(table, render):
    assert "stand-in data" in render(table)


def test_markdown_rows_have_as_many_cells_as_the_header(table):
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("| ")]
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {4}
    assert "**0.200** ± 0.020" in lines[3]
    assert "–" in lines[4]


def test_markdown_bold_covers_the_value_of_a_number_that_looks_like_its_deviation():
    cells = [[Cell("a"), Cell(0.02, 0.02, 2)], [Cell("b"), Cell(0.01, 0.0, 2)]]
    table = Table("t", "T", "", [text_column("n", "n"), Column("v", "v", digits=2, better="higher")], cells)
    assert "**0.02** ± 0.02" in to_markdown(mark_best(table))


def test_latex_is_balanced_and_every_row_fills_the_columns(table):
    text = to_latex(table)
    assert re.findall(r"\\begin\{(.+?)\}", text) == re.findall(r"\\end\{(.+?)\}", text)[::-1]
    bare = re.sub(r"\\[{}&%]", "", text)
    assert bare.count("{") == bare.count("}")
    body = bare[bare.index(r"\midrule") : bare.index(r"\bottomrule")]
    assert [line.count("&") for line in body.splitlines() if line.endswith(r"\\")] == [2, 2, 2]
    assert r"\cmidrule(lr){2-2} \cmidrule(lr){3-3}" in text
    assert r"\textbf{9.5}" in text


def test_a_text_of_several_lines_stays_in_its_row():
    columns = [text_column("source", "source"), text_column("license", "licence")]
    rows = [[Cell("mine"), Cell("CC BY 4.0\nand MIT\n")]]
    table = Table("data", "Data", "", columns, rows, notes=["licensed CC BY 4.0\n\nand MIT"])
    lines = to_markdown(table).splitlines()
    assert "| mine   | CC BY 4.0 and MIT |" in lines
    assert "- licensed CC BY 4.0 and MIT" in lines
    assert r"mine & CC BY 4.0 and MIT \\" in to_latex(table)


def test_latex_escapes_what_it_would_read_as_commands():
    assert latex_escape(r"a_b & 5% \x {y} #1 $2 ~^") == (
        r"a\_b \& 5\% \textbackslash{}x \{y\} \#1 \$2 \textasciitilde{}\textasciicircum{}"
    )


def test_a_long_latex_table_breaks_over_pages(table):
    long = Table(**{**table.__dict__, "rows": table.rows * 20})
    assert r"\begin{longtable}{lrr}" in to_latex(long)


def test_html_is_well_formed_and_escaped(table):
    from xml.etree import ElementTree

    text = to_html(table).removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    page = ElementTree.fromstring(text)
    assert len(page.findall(".//tbody/tr")) == 3
    assert page.find(".//tbody/tr[3]/td").text == "<broken>"


def test_html_breaks_long_text_so_that_columns_fit(table):
    told = "trained within and across (hybrid, alpha 0.5)"
    rows = [[Cell(told), *table.rows[0][1:]], *table.rows[1:]]
    text = to_html(Table(**{**table.__dict__, "rows": rows}))
    assert f'<td class="t long">{told}</td>' in text and '<td class="t">hybrid_a</td>' in text


def test_terminal_prints_codes_only_when_asked(table):
    assert "\033[" not in to_terminal(table, bold=False)
    assert "\033[1m" in to_terminal(table, bold=True)


def test_terminal_columns_line_up(table):
    lines = to_terminal(table, bold=False).splitlines()
    assert lines[3].index("0.123") == lines[4].index("0.200")
    assert lines[2].index("  ─") == len("<broken>") - 0


def test_terminal_keeps_the_named_columns(table):
    assert "rank distance" not in to_terminal(table, bold=False, keep=["mono.map"])


def test_json_round_trip(table):
    import json

    again = Table.from_dict(json.loads(json.dumps(table.to_dict())))
    assert to_markdown(again) == to_markdown(table)
