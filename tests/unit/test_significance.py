"""Paired significance over query groups."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from polybatch.contracts import PER_QUERY
from polybatch.errors import DataError
from polybatch.files import write_parquet
from polybatch.significance import average_seeds, group_values, holm, paired_test, reference_arm
from polybatch.summary import Arm


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


def test_paired_test_equals_scipy():
    from scipy import stats

    draw = np.random.default_rng(0)
    a = draw.normal(0.5, 0.1, 40)
    b = a + draw.normal(0.02, 0.05, 40)
    found = paired_test(groups(a), groups(b))
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
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


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (Arm("tiny", "x-y", None, "all", "en+de"), 0.5),
        (Arm("tiny", "hybrid", 0.2, "all", "en+de"), 0.5),
        (Arm("tiny", "hybrid", 0.5, "all", "en+de"), None),
        (Arm("tiny", "x-y", None, "100", "en+de"), None),
        (Arm("large", "x-y", None, "all", "en+de"), None),
        (Arm("tiny", "untrained", None, "", ""), 0.5),
    ],
)
def test_the_reference_is_the_hybrid_of_the_same_grid_point(arm, expected):
    arms = [Arm("tiny", "hybrid", alpha, "all", "en+de") for alpha in (0.2, 0.5, 0.8)]
    found = reference_arm(arm, arms, "hybrid-a0.5")
    assert (found.alpha if found else None) == expected
