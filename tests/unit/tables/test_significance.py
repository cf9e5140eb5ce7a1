"""Paired significance over query groups."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from polybatch.core.contracts import PER_QUERY
from polybatch.core.errors import DataError
from polybatch.core.files import write_parquet
from polybatch.tables.significance import average_seeds, group_values, holm, paired_test, reference_arm
from polybatch.tables.summary import Arm


def groups(values, cells=2):
    index = pd.Index([f"g{i}" for i in range(len(values))], name="group")
    return pd.DataFrame({"value": np.array(values, float), "cells": cells}, index=index)


def per_query(path, rows):
    columns = ("setting", "query_lang", "corpus_lang", "metric", "query_id", "group", "value")
    table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=PER_QUERY)
    write_parquet(path, [table], PER_QUERY)
    return path


def test_holm_follows_the_published_procedure():
    # Worked by hand: 0.01*4, max(that, 0.02*3), max(that, 0.03*2), max(that, 0.04*1).
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_does_not_count_tests_that_could_not_be_made():
    assert holm([0.02, None, 0.5]) == [pytest.approx(0.04), None, pytest.approx(0.5)]


def test_paired_test_equals_scipys_and_ranxs():
    from ranx.statistical_tests import paired_student_t_test
    from scipy import stats

    draw = np.random.default_rng(0)
    a = draw.normal(0.5, 0.1, 40)
    b = a + draw.normal(0.02, 0.05, 40)
    found = paired_test(groups(a), groups(b))
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert found.p == pytest.approx(paired_student_t_test(a, b)[0])
    assert found.difference == pytest.approx((b - a).mean())
    assert (found.groups, found.dropped) == (40, 0)


def test_groups_of_one_arm_only_are_left_out_and_counted():
    found = paired_test(groups([0.1, 0.2, 0.3, 0.4]), groups([0.2, 0.2, 0.5]))
    assert (found.groups, found.dropped) == (3, 1)
    assert found.difference == pytest.approx(0.1)


def test_groups_averaged_over_other_cells_are_not_paired():
    a, b = groups([0.1, 0.2, 0.3]), groups([0.2, 0.2, 0.5])
    b.loc["g1", "cells"] = 1
    assert paired_test(a, b).groups == 2


def test_a_missing_value_is_left_out_not_zero():
    found = paired_test(groups([0.5, 0.5, 0.5]), groups([0.6, math.nan, 0.7]))
    assert found.groups == 2
    assert found.difference == pytest.approx(0.15)


def test_equal_arms_do_not_differ_and_one_group_is_no_test():
    assert paired_test(groups([0.1, 0.7]), groups([0.1, 0.7])).p == 1.0
    assert paired_test(groups([0.1]), groups([0.7])).p is None


def test_the_unit_is_the_group_not_the_translation(tmp_path):
    rows = [
        ("monolingual", lang, lang, "map", f"{group}-{lang}", group, value)
        for group, values in {"a": (0.2, 0.4), "b": (1.0, 0.0)}.items()
        for lang, value in zip(("en", "de"), values, strict=True)
    ]
    found = group_values(per_query(tmp_path / "q.parquet", rows))
    assert found.loc[("monolingual", "map", "a"), "value"] == pytest.approx(0.3)
    assert found.loc[("monolingual", "map", "b"), "value"] == pytest.approx(0.5)
    assert list(found["cells"]) == [2, 2]


def test_seeds_are_averaged_on_the_groups_they_share(tmp_path):
    first = [("monolingual", "en", "en", "map", g, g, v) for g, v in (("a", 0.2), ("b", 0.4))]
    second = [("monolingual", "en", "en", "map", g, g, v) for g, v in (("a", 0.6), ("c", 0.4))]
    files = [per_query(tmp_path / f"{i}.parquet", rows) for i, rows in enumerate((first, second))]
    found = average_seeds([group_values(path) for path in files])
    assert found.index.tolist() == [("monolingual", "map", "a")]
    assert found["value"].tolist() == pytest.approx([0.4])


def test_a_query_without_a_value_does_not_count(tmp_path):
    rows = [("monolingual", lang, lang, "map", lang, "a", v) for lang, v in (("en", 0.2), ("de", math.nan))]
    found = group_values(per_query(tmp_path / "q.parquet", rows))
    assert found[["value", "cells"]].to_numpy().tolist() == [[pytest.approx(0.2), 1]]


def test_queries_without_a_group_are_refused(tmp_path):
    path = per_query(tmp_path / "q.parquet", [("monolingual", "en", "en", "map", "q", None, 0.5)])
    with pytest.raises(DataError, match="without a group"):
        group_values(path)


def arm(sampling, alpha=None, *, encoder="tiny", pairs="all", translated="all"):
    return Arm(encoder, sampling, alpha, pairs, translated, "en+de")


@pytest.mark.parametrize(
    ("mine", "expected"),
    [
        (arm("x-y"), ("0.5", "all")),
        (arm("x-y", translated="100"), ("0.5", "100")),
        (arm("hybrid", "0.2"), ("0.5", "all")),
        (arm("hybrid", "0.5"), None),
        (arm("x-y", pairs="100"), None),
        (arm("x-y", encoder="large"), None),
        (arm("en-en", translated=""), ("0.5", "all")),
        (Arm("tiny", "untrained", None, "", "", ""), None),  # two arms to compare with: neither is the one
    ],
)
def test_the_reference_is_the_hybrid_of_the_same_grid_point(mine, expected):
    arms = [arm("hybrid", alpha, translated=number) for alpha in ("0.2", "0.5", "1to0.5") for number in ("100", "all")]
    found = reference_arm(mine, arms, "hybrid-a0.5")
    assert ((found.alpha, found.num_translated) if found else None) == expected


def test_the_untrained_encoder_may_be_the_reference_of_all_its_arms():
    floor = Arm("tiny", "untrained", None, "", "", "")
    arms = [floor, Arm("tiny", "x-y", None, "100", "all", "en+de"), Arm("tiny", "en-en", None, "all", "", "en")]
    assert [reference_arm(arm, arms, "untrained") for arm in arms] == [None, floor, floor]
    assert reference_arm(arms[1], arms[1:], "untrained") is None


def test_the_untrained_floor_is_compared_with_the_only_reference_there_is():
    arms = [arm("hybrid", "0.5"), arm("x-y")]
    assert reference_arm(Arm("tiny", "untrained", None, "", "", ""), arms, "hybrid-a0.5") == arms[0]


def test_languages_left_out_of_the_averages_are_left_out_of_the_test(tmp_path):
    rows = [("monolingual", lang, lang, "map", lang, "a", v) for lang, v in (("en", 0.2), ("de", 0.6))]
    found = group_values(per_query(tmp_path / "q.parquet", rows), ["en"])
    assert found[["value", "cells"]].to_numpy().tolist() == [[pytest.approx(0.6), 1]]
