"""A user's words for a run are understood, or answered with the nearest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_pipeline import write_tables
from small_study import HYBRID, UNTRAINED, config

from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import ConfigError, DataError
from polybatch.search.indexed import Study, read_study

SEEDS = [{"sampling": "hybrid", "alphas": [0.5], "seeds": [1, 2]}, {"sampling": "x-y", "seeds": [1]}]
XY = "tiny/x-y/nall/en+ar/s1"


def study(results: Path, indexed: dict[str, list[str]], **grid: object) -> Study:
    """A study whose runs have indexes of some benchmarks."""
    made = config(**grid)
    paths = StudyPaths.of(made, results / "toy")
    for run, names in indexed.items():
        for name in names:
            for path in (paths.embeddings_record(run, name), paths.index_record(run, name)):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_text("{}", "utf-8")
    write_tables(results / "tables" / made["study"]["name"], made)
    return read_study(results, "default")


def test_without_names_the_first_run_stands_against_the_last(tmp_path: Path) -> None:
    found = study(tmp_path, {UNTRAINED: ["test"], XY: ["test"]}, runs=SEEDS)
    chosen = found.choose(None, None, None)
    assert [one.run for one in chosen] == [UNTRAINED, XY]
    assert chosen[0].model == tmp_path / "toy/encoders/tiny"
    assert chosen[1].model == tmp_path / "toy/models" / XY
    assert {one.benchmark for one in chosen} == {tmp_path / "toy/benchmarks/test"}
    assert [one.run for one in found.choose("x-y", None, None)] == [XY]


def test_parts_of_a_name_are_enough_where_no_other_run_has_them(tmp_path: Path) -> None:
    found = study(tmp_path, {run: ["test"] for run in (UNTRAINED, HYBRID, XY)}, runs=SEEDS)
    for asked in (HYBRID, "hybrid-a0.5/s1", "tiny/hybrid-a0.5/s1", "hybrid/s1"):
        assert [one.run for one in found.choose(asked, "untrained", None)] == [HYBRID, UNTRAINED]
    with_mono = study(tmp_path / "mono", {}, runs=[{"sampling": name, "seeds": [1]} for name in ("x-x", "x-x-mono")])
    assert with_mono._run("x-x") == "tiny/x-x/nall/en+ar/s1"
    with pytest.raises(ConfigError, match="' means 2 runs") as fault:
        found.choose("hybrid-a0.5", None, None)
    assert HYBRID in fault.value.found
    with pytest.raises(ConfigError, match="one and the same run"):
        found.choose("untrained", UNTRAINED, None)


@pytest.mark.parametrize("asked", ["hybird-a0.5", "tiny/hybrid-a0.7", "tiny/hybrid-a0.5/nall/en+ar/s9", "hybird"])
def test_a_run_that_is_not_there_is_answered_with_runs_near_it(tmp_path: Path, asked: str) -> None:
    found = study(tmp_path, {UNTRAINED: ["test"], HYBRID: ["test"]})
    with pytest.raises(ConfigError, match="has no run") as fault:
        found.choose(asked, None, None)
    assert HYBRID in fault.value.found


def test_models_of_other_benchmarks_are_told_with_what_each_has(tmp_path: Path) -> None:
    found = study(tmp_path, {UNTRAINED: ["extra"], HYBRID: ["test"]})
    with pytest.raises(DataError, match="no benchmark in common") as fault:
        found.choose("untrained", "hybrid-a0.5", None)
    assert fault.value.found == f"{UNTRAINED}: extra; {HYBRID}: test"
    with pytest.raises(DataError, match="no index of that benchmark"):
        found.choose("untrained", "hybrid-a0.5", "test")
    with pytest.raises(ConfigError, match=r"'tset'(.|\n)*found: test"):
        found.choose("untrained", None, "tset")
    assert found.choose("untrained", None, "extra")[0].benchmark.name == "extra"


def test_a_study_that_is_not_there_or_not_indexed_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No run of the study default has an index"):
        study(tmp_path, {}).choose(None, None, None)
    with pytest.raises(DataError, match="tables of the studies default"):
        read_study(tmp_path, "defalt")
    shutil.rmtree(tmp_path / "tables")
    with pytest.raises(DataError, match="no folder"):
        read_study(tmp_path, "default")
