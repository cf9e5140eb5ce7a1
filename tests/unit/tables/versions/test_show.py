"""A version's tables in the terminal."""

from __future__ import annotations

from collections import Counter

import pytest
import synthetic_study as synthetic

from polybatch.tables.forms.table import format_value
from polybatch.tables.forms.terminal import terminal_width
from polybatch.tables.make import Inputs, _groups, _tables, _views
from polybatch.tables.summary import summarise
from polybatch.tables.versions.show import describe
from polybatch.tables.versions.versions import Version

LANGS = ("en", "ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")
ENCODER = "multilingual-e5-small"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Eleven languages, two encoders, two sizes, published scores: every table as wide as tables get."""
    base = tmp_path_factory.mktemp("wide")
    runs, trained = [], "+".join(LANGS)
    for encoder in (ENCODER, "xlm-roberta-large"):
        synthetic.write_run(base, "untrained", -1, groups=2, langs=LANGS, encoder=encoder)
        for sampling, label in (("x-y", "x-y"), ("hybrid", "hybrid-a0.5")):
            grid = {"langs": LANGS, "trained": trained, "encoder": encoder, "num_pairs": "1000"}
            for seed in (0, 1):
                synthetic.write_run(base, sampling, seed, groups=2, **grid)
                runs.append(f"{encoder}/{label}/n1000/{trained}/s{seed}")
    synthetic.write_run(base, "x-y", 0, groups=2, langs=LANGS, trained=trained, encoder=ENCODER)
    lines = [
        f"A paper of 2024 (arXiv 1234.56789),xlm-roberta-large,{sampling},test,{setting},map,{value}"
        for setting in ("monolingual", "cross_lingual", "multilingual")
        for sampling, value in (("x-y", 0.5), ("hybrid", 0.6))
    ]
    path = base / "published.csv"
    path.write_text("\n".join(["source,encoder,sampling,benchmark,setting,metric,value", *lines]) + "\n", "utf-8")
    config = synthetic.config(tables={"published": str(path)})
    config = synthetic.with_grid(config, {"sampling": "x-y"}, {"sampling": "hybrid", "alphas": [0.5]})
    inputs: Inputs = synthetic.inputs(
        base,
        config,
        translations=[synthetic.write_translation(base, lang) for lang in LANGS[1:]],
        compositions=[synthetic.write_composition(base, run) for run in runs],
        trainings=[synthetic.write_training(base, run, device="NVIDIA H100 80GB HBM3") for run in runs],
    )
    summary = summarise(inputs.scores)
    return Version(base, {"version": "v1"}, _tables(inputs, _views(inputs, summary), _groups(inputs)))


def test_no_table_of_a_wide_study_is_wider_than_the_terminal_and_no_number_is_lost(wide):
    names = {table.name for table in wide.tables}
    assert {"main-test", "order-test", "cost-test", "cross_lingual-test", "language_share-test", "batches"} <= names
    for table in wide.tables:
        lines = describe(wide, bold=False, name=table.name, width=100).split("version v1")[0].splitlines()
        assert max(map(terminal_width, lines)) <= 100, table.name
        numbers = Counter(
            token
            for row in table.rows
            for cell, column in zip(row, table.columns, strict=True)
            if not column.is_text
            for token in format_value(cell, column).split()
        )
        assert not numbers - Counter(" ".join(lines).split()), table.name
