"""Scores against their per-query values."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest
import synthetic_study as synthetic

from polybatch.core.contracts import PER_QUERY, SCORES
from polybatch.core.errors import DataError
from polybatch.core.files import read_parquet, write_parquet
from polybatch.tables.agreement import require_agreement
from polybatch.tables.make import per_query_path


@pytest.fixture
def scores(tmp_path):
    return synthetic.write_run(tmp_path, "hybrid", 0, groups=4)


def test_scores_that_are_means_agree(scores):
    require_agreement(scores, per_query_path(scores))


@pytest.mark.parametrize("change", ["value", "number", "lost score", "lost values"])
def test_another_score_or_number_of_queries_is_told_with_both_files(scores, change):
    table, values = read_parquet(scores, SCORES), read_parquet(per_query_path(scores), PER_QUERY)
    if change == "value":
        table = table.set_column(
            table.schema.get_field_index("value"), SCORES.field("value"), pc.multiply(table["value"], 1.001)
        )
    elif change == "number":
        values = values.slice(1)
    elif change == "lost score":
        table = table.slice(1)
    else:
        values = values.filter(pc.not_equal(values["metric"], "map"))
    write_parquet(scores, [table], SCORES)
    write_parquet(per_query_path(scores), [values], PER_QUERY)
    with pytest.raises(DataError, match="not the means of their per-query values") as told:
        require_agreement(scores, per_query_path(scores))
    assert all(text in str(told.value) for text in (str(scores), "per_query.parquet", f"snakemake --forcerun {scores}"))


def test_an_empty_file_does_not_agree(scores):
    write_parquet(per_query_path(scores), [PER_QUERY.empty_table()], PER_QUERY)
    with pytest.raises(DataError, match="no value in the other"):
        require_agreement(scores, per_query_path(scores))
