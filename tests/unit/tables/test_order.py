"""Whether ours stand in the order that was published."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
import synthetic_study as synthetic

from polybatch.tables.forms.table import format_value, to_csv, to_markdown
from polybatch.tables.make import expected_files, make
from polybatch.tables.order import order_table, ordered_benchmarks, orders_of
from polybatch.tables.published import Published


def published(encoder: str, sampling: str, setting: str, value: float, metric: str = "map") -> Published:
    return Published("Paper", encoder, sampling, "test", setting, metric, value, "")


# In the synthetic study, x-x-mono leads x-y within a language, x-y leads it across languages; hybrid leads both, across
# languages by little.
ROWS = [
    published("tiny", "x-x-mono", "monolingual", 0.79),
    published("tiny", "x-y", "monolingual", 0.75),
    published("tiny", "x-x-mono", "cross_lingual", 0.70),
    published("tiny", "x-y", "cross_lingual", 0.67),
    published("tiny", "hybrid-a0.5", "cross_lingual", 0.705),
    published("tiny", "x-y", "multilingual", 0.59),
    published("tiny", "hybrid-a0.5", "multilingual", 0.59),
    published("tiny", "x-x-mono", "multilingual", 410, "rank_distance"),
    published("tiny", "x-y", "multilingual", 295, "rank_distance"),
]


def rows_of(table):
    rows = csv.DictReader(io.StringIO(to_csv(table)))
    return {(row["setting"], row["metric"], row["first"], row["second"]): row for row in rows}


def test_an_order_agrees_differs_or_is_open_by_the_test_on_ours(whole):
    table = order_table(*whole, ROWS)
    rows = rows_of(table)
    verdicts = {key: row["verdict"] for key, row in rows.items()}
    assert verdicts.pop(("cross-lingual", "mAP", "hybrid-a0.5", "x-y")) in ("agrees", "not significant")
    assert verdicts == {
        ("monolingual", "mAP", "x-x-mono", "x-y"): "agrees",
        ("cross-lingual", "mAP", "x-x-mono", "x-y"): "differs",
        ("cross-lingual", "mAP", "hybrid-a0.5", "x-x-mono"): "agrees",
        ("multilingual", "mAP", "x-y", "hybrid-a0.5"): "no order published",
        ("multilingual", "rank distance", "x-y", "x-x-mono"): "agrees",  # lower is better: x-y is first
    }
    assert table.caption.startswith("Of 6 published orders held against ours, setting by setting: agrees ")
    assert "another encoder" not in table.caption


def test_the_numbers_of_both_and_the_seeds_stand_in_the_row(whole):
    view, _ = whole
    table = order_table(*whole, ROWS)
    row = rows_of(table)["cross-lingual", "mAP", "x-x-mono", "x-y"]
    arms = {arm.sampling: arm for arm in view.arms}
    ours = [view.macro()[arms[name], "cross_lingual", "map"] for name in ("x-x-mono", "x-y")]
    means = [sum(values) / len(values) for values in ours]
    assert (row["published.first"], row["published.second"]) == ("0.7", "0.67")
    assert [float(row[f"ours.{part}"]) for part in ("first", "second")] == pytest.approx(means)
    assert float(row["ours.difference"]) == pytest.approx(means[0] - means[1])
    assert (row["ours.difference_mark"], row["seeds"]) == ("worse", "0 of 3")
    assert float(row["ours.difference_p"]) < 0.05
    keys = [column.key for column in table.columns]
    ranks = next(row for row in table.rows if row[1].value == "rank distance")
    assert format_value(ranks[keys.index("published.first")], table.columns[keys.index("published.first")]) == "295.0"
    assert "−115.0" in to_markdown(table)


def test_what_few_queries_cannot_tell_apart_is_not_significant(tmp_path):
    for sampling in ("x-y", "hybrid"):
        synthetic.write_run(tmp_path, sampling, 0, groups=4, level=(0.5, 0.4, 0.3))
    rows = rows_of(order_table(*synthetic.view(tmp_path), ROWS))
    assert rows["cross-lingual", "mAP", "hybrid-a0.5", "x-y"]["verdict"] == "not significant"


def test_another_encoder_is_held_against_all_that_were_published_and_the_caption_says_so(whole):
    foreign = [row._replace(encoder=name) for name in ("xlm-r", "labse") for row in ROWS]
    table = order_table(*whole, foreign)
    assert len(table.rows) == 2 * 6
    assert "Ours with tiny are held against what was published with another encoder (labse, xlm-r)" in table.caption
    own = order_table(*whole, [*ROWS, *foreign])
    assert len(own.rows) == 6


def test_arms_are_paired_only_where_nothing_but_the_sampling_differs(tmp_path):
    for pairs in ("100", "all"):
        for sampling in ("x-y", "x-x-mono"):
            synthetic.write_run(tmp_path, sampling, 0, groups=6, num_pairs=pairs)
    synthetic.write_run(tmp_path, "hybrid", 0, groups=6, num_pairs="100")
    synthetic.write_run(tmp_path, "untrained", -1, groups=6)
    rows = list(csv.DictReader(io.StringIO(to_csv(order_table(*synthetic.view(tmp_path), ROWS)))))
    found = [(row["num_pairs"], row["first"], row["second"]) for row in rows if row["setting"] == "cross-lingual"]
    assert found == [
        ("100", "x-x-mono", "x-y"),
        ("all", "x-x-mono", "x-y"),
        ("100", "hybrid-a0.5", "x-x-mono"),
        ("100", "hybrid-a0.5", "x-y"),
    ]


def test_english_training_is_paired_with_the_most_translations(tmp_path):
    for size in ("0", "1000"):
        synthetic.write_run(tmp_path, "x-y", 0, groups=6, num_translated=size)
    synthetic.write_run(tmp_path, "en-en", 0, groups=6)
    given = [published("tiny", name, "monolingual", value) for name, value in (("en-en", 0.2), ("x-y", 0.6))]
    (row,) = order_table(*synthetic.view(tmp_path), given).rows
    assert "1000" in [cell.value for cell in row]


def test_the_table_is_announced_where_two_published_rows_are_run_and_made_then(tmp_path):
    assert ordered_benchmarks(ROWS, {"x-y", "untrained"}) == set()
    assert ordered_benchmarks(ROWS, {"x-y", "hybrid-a0.5"}) == {"test"}
    lines = [f"Paper,tiny,{name},test,monolingual,map,{value}" for name, value in (("x-y", 0.7), ("hybrid", 0.8))]
    path = tmp_path / "p.csv"
    path.write_text("\n".join(["source,encoder,sampling,benchmark,setting,metric,value", *lines]) + "\n", "utf-8")
    config = synthetic.config(settings=("monolingual",), tables={"published": str(path)})
    assert "order-test.csv" not in expected_files(synthetic.with_grid(config, {"sampling": "x-y"}))
    config = synthetic.with_grid(config, {"sampling": "x-y"}, {"sampling": "hybrid", "alphas": [0.5]}, trained="en")
    for sampling in ("x-y", "hybrid"):
        synthetic.write_run(tmp_path, sampling, 0, groups=4, langs=("en", "de"))
    make(synthetic.inputs(tmp_path, config), tmp_path / "t", tmp_path / "t" / "latest")
    assert "hybrid-a0.5" in (tmp_path / "t" / "latest" / "order-test.csv").read_text("utf-8")


def test_a_measure_without_a_better_end_has_no_order():
    rows = [
        published("tiny", name, "multilingual", value, "own_language_first") for name, value in (("a", 1), ("b", 2))
    ]
    assert orders_of(rows, "test") == []


def test_a_setting_that_is_not_scored_has_no_rows(whole):
    view, groups = whole
    table = order_table(replace(view, settings=("monolingual",)), groups, ROWS)
    assert {row[0].value for row in table.rows} == {"monolingual"}
