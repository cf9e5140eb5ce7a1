"""What came out of a study, in one table and a few sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic_study as synthetic

from polybatch.tables.findings import before_and_after, findings_table, model_words
from polybatch.tables.forms.table import to_markdown
from polybatch.tables.summary import Arm


def rows_of(table):
    keys = [column.key for column in table.columns]
    return {row[0].value: dict(zip(keys, row, strict=True)) for row in table.rows}


def test_every_model_is_named_in_words_and_compared_with_the_encoder_as_it_comes(whole):
    table = findings_table(*whole)
    rows = rows_of(table)
    assert list(rows) == [
        "as it comes",
        "trained on English alone (en-en)",
        "trained within languages, mixed batches (x-x)",
        "trained within languages (x-x-mono)",
        "trained across languages (x-y)",
        "trained within and across (hybrid, alpha 0.5)",
    ]
    first, last = rows["as it comes"]["monolingual.map"], rows["trained across languages (x-y)"]["monolingual.map"]
    assert (first.difference, first.mark) == (None, "")
    assert last.difference == pytest.approx(last.value - first.value)
    assert last.mark == "better"


def test_a_change_without_a_better_end_is_marked_as_a_change_alone(whole):
    own = rows_of(findings_table(*whole))["trained across languages (x-y)"]["multilingual.own_language_first"]
    assert (own.mark, own.best) == ("changed", False)


def test_the_sentences_hold_the_numbers_of_the_table_and_the_verdict_of_the_test(whole):
    view, groups = whole
    table = findings_table(replace(view, steps={"tiny/hybrid-a0.5": 120}), groups)
    rows = rows_of(table)
    before, after = (rows[name]["cross_lingual.map"] for name in ("as it comes", list(rows)[-1]))
    assert f"across languages from {before.value:.3f} to {after.value:.3f} (significant)" in table.caption
    assert table.caption.startswith("As it comes, the best placed right passage was in the query's own language for ")
    assert "after 120 steps of training with hybrid batches (alpha 0.5), for " in table.caption


def test_what_is_not_significant_is_called_so(tmp_path):
    for sampling in ("untrained", "hybrid"):
        synthetic.write_run(tmp_path, sampling, -1 if sampling == "untrained" else 0, groups=6, level=(0.5, 0.4, 0.3))
    table = findings_table(*synthetic.view(tmp_path))
    marked = sum(bool(cell.mark) for cell in table.rows[1])
    assert marked < 5  # the levels are the same, and the queries few
    assert table.caption.count("(significant)") == marked
    assert table.caption.count("(not significant)") == 5 - marked


def test_an_encoder_from_random_weights_does_not_come_as_it_is(whole):
    view, groups = whole
    table = findings_table(replace(view, scratch={"tiny"}), groups)
    assert table.rows[0][0].value == "before training"
    assert table.caption.startswith("Before training, ")


@pytest.mark.parametrize("reference", ["untrained", "hybrid-a0.5", "x-y"])
def test_the_trained_arm_told_of_is_the_reference_or_the_default(whole, reference):
    ((before, after),) = before_and_after(replace(whole[0], reference=reference))
    assert (before.sampling, after.sampling_label) == ("untrained", "x-y" if reference == "x-y" else "hybrid-a0.5")


def test_a_study_without_an_untrained_encoder_is_compared_with_its_reference(tmp_path):
    for sampling in ("x-y", "hybrid"):
        synthetic.write_run(tmp_path, sampling, 0, groups=8)
    table = findings_table(*synthetic.view(tmp_path))
    assert table.rows[0][1].difference is not None
    assert table.rows[1][1].difference is None
    assert any('difference to "hybrid-a0.5"' in note for note in table.notes)


def test_several_encoders_are_compared_each_with_itself(tmp_path):
    for encoder, level in (("a", 0.2), ("b", 0.6), ("c", 0.4)):
        synthetic.write_run(tmp_path, "untrained", -1, groups=6, encoder=encoder, level=(level, 0.1, 0.1))
        synthetic.write_run(tmp_path, "x-y", 0, groups=6, encoder=encoder, level=(level + 0.1, 0.3, 0.3))
    table = findings_table(*synthetic.view(tmp_path))
    rows = rows_of(table)
    assert rows["b: trained across languages (x-y)"]["monolingual.map"].difference == pytest.approx(0.1, abs=0.05)
    assert "a: as it comes, the best placed" in table.caption
    assert "Further encoders in the table: 1." in table.caption


def test_a_mark_of_stand_in_data_stays(whole):
    view, groups = whole
    assert "> **toy data**" in to_markdown(findings_table(replace(view, data_mark="toy data"), groups))


def test_what_a_study_varies_is_in_the_name(whole):
    summary = replace(whole[0].summary, varying=["encoder", "num_pairs"])
    arm = Arm("e5", "hybrid", "1to0.5", "1000", "", "en+de")
    words = model_words(replace(whole[0], summary=summary), arm)
    assert words == "e5: trained within and across (hybrid, alpha 1 to 0.5), 1000 pairs"
