"""The steps of a script, read from what a dry run prints."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "measurements"))

import one_process

# Shortened from what Snakemake 9.27 prints: a group names its jobs in alphabetical order.
PRINTED = """
[Sat Nov 21 14:17:08 2026]
rule fetch_wheel:
    output: results/a.whl
Shell command: python -m polybatch.prefetch.wheel --output results/a.whl 2> results/a.log
[Sat Nov 21 14:17:08 2026] Group job prepare (jobs in lexicogr. order):

    [Sat Nov 21 14:17:08 2026]
    rule collect_english:
        input: results/sources/a.parquet, results/a.whl
        output: results/en.parquet, results/en.json
Shell command: python -m polybatch.collect.english --cleaning '{"a b": 1}' --output results/en.parquet 2> results/en.log

    [Sat Nov 21 14:17:08 2026]
    rule collect_source:
        input: results/a.whl
        output: results/sources/a.parquet
Shell command: python -m polybatch.cluster.launch --gpu 0 --distributed polybatch.translation.shard --threads 1 --output x 2> y

[Sat Nov 21 14:17:08 2026]
rule make_tables:
    input: results/en.json
    output: results/tables/VERSION
Shell command: work=$(mktemp -d) && printf '%s' '{"a": 1}' > "$work/config.json" && """ + (
    'python -m polybatch.tables.inputs --output "$work/inputs.json" 2> log && '
    'python -m polybatch.tables.make --config "$work/config.json" 2>> log\n'
    "localrule all:\n    input: results/tables/VERSION\nShell command: None\n"
)


def test_steps_are_ordered_by_what_they_read_and_run_without_launcher_and_shell() -> None:
    found = one_process.steps(PRINTED)
    assert [step.module for step in found] == ["translation.shard", "collect.english", "tables.inputs", "tables.make"]
    assert found[1].arguments == ["--cleaning", '{"a b": 1}', "--output", "results/en.parquet"]
    assert found[0].arguments[0] == "--threads"
    assert found[2] == one_process.Step("tables.inputs", ["--output", "{work}/inputs.json"], '{"a": 1}')
    assert found[3].arguments == ["--config", "{work}/config.json"]
