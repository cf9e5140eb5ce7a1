"""A finished study beside its plan: what is predicted from what, and the clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from polybatch.core.errors import DataError
from polybatch.study.ask_plan import main
from polybatch.study.earlier import Timing, timing
from polybatch.study.plan_check import as_they_ran, check, left_out, stage_checks, time_at_work
from polybatch.study.resolve import resolve
from polybatch.study.wall_clock import Job, Machine, schedule

ROOT = Path(__file__).parents[3]


def test_a_job_is_predicted_from_the_others_alone() -> None:
    # The second took twice as long as the others' rate says, so it is predicted at half of what it took; the others
    # are predicted from it too.
    assert left_out([10, 10, 10], [20, 40, 20]) == (60 / 2 / 20, 40 / 2 / 40, 60 / 2 / 20)
    assert left_out([10], [20]) == ()


def test_twice_the_time_of_one_job_changes_no_prediction_of_it() -> None:
    once, twice = left_out([5, 10], [5, 10])[0], left_out([5, 10], [10, 10])[0]
    assert once == 2 * twice


def test_stages_are_compared_as_far_as_they_were_measured() -> None:
    graph = [Job("train/a", "train", 1), Job("train/b", "train", 1), Job("score/a", "score", 0.5)]
    (found,) = stage_checks(graph, {"train/a": Timing(1800, 0)})
    assert (found.stage, found.jobs, found.predicted, found.measured, found.left_out) == ("train", 1, 3600, 1800, ())


def test_pauses_and_jobs_side_by_side_count_once() -> None:
    # 0 to 10, 5 to 12, a pause, 100 to 103.
    assert time_at_work([Timing(10, 10), Timing(7, 12), Timing(3, 103)]) == 15


def test_jobs_of_a_machine_without_a_card_take_threads() -> None:
    graph = [Job("train/a", "train", 9, 1, 0), Job("encode/a", "encode", 9, 1, 0), Job("index/a", "index", 9)]
    graph += [Job("encode/b", "encode", 9, 1, 0)]
    ran = as_they_ran(graph, {"train/a": 3600, "index/a": 7200}, {"a": 1}, 2)
    assert [(job.hours, job.devices, job.cores) for job in ran] == [(1, 0, 1), (0, 0, 1), (2, 0, 1), (0, 0, 2)]
    assert schedule(ran, Machine(0, 2)).wall_hours == 2


def test_a_study_with_timings_is_printed_within_100_columns(tmp_path: Path) -> None:
    config = resolve(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")))
    with pytest.raises(DataError, match="Nothing of this study was measured"):
        check(config, tmp_path, 2)
    for name, seconds in (("collect/en", 4), ("score/e5-small/untrained/default", 2)):
        path = tmp_path / "timings" / f"{name}.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:0{seconds}\n", "utf-8")
        os.utime(path, (1000, 1000))
    text = check(config, tmp_path, 2)
    assert "2 jobs have timings" in text
    assert "none is from this study" in text
    assert max(map(len, text.splitlines())) <= 100
    # Both ended at one moment: four seconds passed, and one after the other they take six.
    row = next(line for line in text.splitlines() if "as they were measured" in line)
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["6", "4", "1.50"]


def test_options_of_snakemake_are_refused_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["--check", "--cores", "2"])
    assert "nothing is Snakemake's: --cores 2" in capsys.readouterr().err


def test_a_damaged_timing_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("s\nx\n", "utf-8")
    with pytest.raises(DataError, match="timing cannot be read"):
        timing(tmp_path / "a.tsv")
