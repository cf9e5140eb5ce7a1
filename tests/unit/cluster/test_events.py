"""Failed jobs are told from what Snakemake's logger tells, however quiet Snakemake is; runs that really fail, too."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from polybatch.cluster import events, failures
from polybatch.cluster.events import Recorder, attach, described

# Recorded with Snakemake 9.27 under `--quiet rules`, its Slurm plugin 2.8 and Slurm 22.05; folders were renamed.
RECORDED = Path(__file__).parents[2] / "data/logs"
WORKFLOW = Path(__file__).parents[3] / "workflow"
THERE = "/home/user/study"
LOGGER = logging.getLogger("snakemake.logging")

SNAKEFILE = """
from polybatch.cluster import events, failures
events.attach(workflow)

onerror:
    failures.tell(log)

rule all:
    input: "a.txt", "b.txt", "c.txt"

rule bad:
    output: "a.txt"
    log: "logs/a.log"
    resources: mem_mb=lambda w, attempt: 100 * attempt
    shell: "printf 'error: No pair.\\\\n  to do: collect first\\\\n' 2> {log} >&2; exit 1"

rule killed:
    output: "c.txt"
    shell: "kill -9 $$"

rule good:
    output: "b.txt"
    shell: "touch {output}"
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("quiet", [(), ("--quiet",), ("--quiet", "rules"), ("--quiet", "all")], ids=" ".join)
def test_a_failed_run_tells_the_cause_however_quiet_it_is(tmp_path: Path, quiet: tuple[str, ...]) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    done = run(tmp_path, "snakemake", "--cores", "2", "--keep-going", "--retries", "1", "--nocolor", *quiet)
    assert done.returncode == 1
    report = done.stderr[done.stderr.index("What failed") :]
    again = run(tmp_path, "polybatch", "failures").stderr
    for told in (report, again):
        assert "] bad\n    cause: No pair.\n    tried: 2 times with 100, 200 MB\n    log: logs/a.log" in told
        assert "      | error: No pair.\n      |   to do: collect first\n    to do: collect first" in told
        assert "] killed\n    cause: killed (SIGKILL)" in told
        assert "1 of 4 steps are done, 2 failed, 1 wait" in told
        assert (
            f"Go on with the same command: snakemake --cores 2 --keep-going --retries 1 {' '.join(quiet)}"[:70] in told
        )
    (kept,) = (tmp_path / ".snakemake/polybatch").iterdir()
    assert json.loads(kept.read_text().splitlines()[-1]) == {"event": "ended"}


@pytest.fixture
def slurm_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The events of a run on Slurm, in the folder of that run with the logs that two of its jobs left."""
    put(tmp_path / ".snakemake/polybatch/run.jsonl", (RECORDED / "slurm.jsonl").read_text())
    group = (RECORDED / "group_parts_join_part-14.slurm.log").read_text()
    put(tmp_path / ".snakemake/slurm_logs/group_parts_join_part/14.log", group)
    put(tmp_path / "logs/p1.log", "error: shard 1 is bad.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm is asked
    return tmp_path / ".snakemake/polybatch/run.jsonl"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_run_on_slurm_is_read_from_its_events(slurm_run: Path) -> None:
    run = events.read(slurm_run)
    assert {job.name: job.last.outcome for job in run.jobs.values()} == {
        "bad": "failed",
        "part (n=1)": "failed",
        "part (n=2)": "failed",
        "join": "failed",
        "memory": "failed",
        "refused": "failed",
        "good": "finished",
    }
    by_name = {job.name: job for job in run.jobs.values()}
    assert [one.slurm_id for one in by_name["bad"].tries] == ["8", "13"]
    assert [one.resources["mem_mb"] for one in by_name["bad"].tries] == ["100", "200"]
    assert by_name["bad"].last.slurm_log == f"{THERE}/.snakemake/slurm_logs/rule_bad/13.log"
    assert [one.slurm_id for one in by_name["join"].tries] == ["9", "14"]
    assert run.submitted == ["8", "9", "10", "11", "12", "13", "14"]
    assert run.slurm_name.startswith("fd37f51e-")
    assert (run.done, run.total, run.ended, run.interrupted) == (1, 8, True, False)


def test_of_a_group_on_slurm_the_rule_that_failed_inside_is_named(slurm_run: Path) -> None:
    folder = Path.cwd()
    slurm_run.write_text(slurm_run.read_text().replace(THERE, str(folder)))
    found = {failure.title: failure for failure in failures.find(events.read(slurm_run), {})}
    assert set(found) == {"bad", "part (n=1)", "memory", "refused"}
    assert [job.name for job in found["part (n=1)"].others] == ["join", "part (n=2)"]
    assert found["part (n=1)"].tried.startswith("2 times (Slurm jobs 9 ")
    assert found["refused"].cause.words.startswith("Slurm refused the job: invalid partition specified: nosuch")


def test_a_kill_in_the_middle_of_a_line_leaves_the_lines_before(slurm_run: Path) -> None:
    lines = slurm_run.read_text().splitlines(keepends=True)
    slurm_run.write_text("".join(lines[:9]) + lines[9][:40])
    run = events.read(slurm_run)
    assert run.jobs
    assert not run.ended


def test_the_newest_run_is_found_by_its_events_or_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = (tmp_path / f".snakemake/log/2026-0{month}.snakemake.log" for month in (1, 2))
    put(old, (RECORDED / "local.snakemake.log").read_text())
    put(new, "Nothing to be done.\n")
    assert failures.newest().name == old.name
    put(events.events_of(new), (RECORDED / "slurm.jsonl").read_text())
    assert failures.newest().name == new.name
    assert failures._read(new).total == 8


# ---- The recorder


def workflow(log: Path | None, *, dryrun: bool = False, mode: str = "DEFAULT") -> Any:
    manager = SimpleNamespace(settings=SimpleNamespace(dryrun=dryrun), get_logfile=lambda: [str(log)] if log else [])
    return SimpleNamespace(logger_manager=manager, exec_mode=SimpleNamespace(name=mode))


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    made = attach(workflow(tmp_path / ".snakemake/log/now.snakemake.log"))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    yield made
    LOGGER.setLevel(level)
    LOGGER.removeHandler(made)
    made.close()


def job_info(job: int, **facts: Any) -> None:
    given = {"rule_name": "part", "wildcards": {"n": "1"}, "log": ["p.log"], "output": ["p.txt"], "resources": {}}
    LOGGER.info("", extra={"event": LogEvent.JOB_INFO, "jobid": job, **given, **facts})


def test_nothing_is_written_before_the_first_job(recorder: Recorder) -> None:
    LOGGER.info("Building DAG of jobs...")
    LOGGER.info("", extra={"event": LogEvent.WORKFLOW_STARTED, "cmd": "snakemake x"})
    assert not recorder.path.exists()
    job_info(3, resources={"mem_mb": 5, "_cores": 1})
    lines = [json.loads(line) for line in recorder.path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["message", "workflow_started", "job_info"]
    assert lines[-1]["resources"] == {"mem_mb": "5"}


def test_a_second_run_in_a_process_has_a_recorder_of_its_own(recorder: Recorder, tmp_path: Path) -> None:
    again = attach(workflow(tmp_path / ".snakemake/log/later.snakemake.log"))
    assert again is events.attached()
    assert [handler for handler in LOGGER.handlers if isinstance(handler, Recorder)] == [again]
    LOGGER.removeHandler(again)


def test_what_a_run_began_is_known_while_it_goes_on(recorder: Recorder) -> None:
    assert not events.began("part")
    job_info(1)
    assert events.began("part") and not events.began("make_tables")


def test_dry_runs_and_the_snakemakes_inside_of_jobs_are_not_recorded(tmp_path: Path) -> None:
    assert attach(workflow(tmp_path / "a.log", dryrun=True)) is None
    assert attach(workflow(tmp_path / "a.log", mode="REMOTE")) is None


def test_a_snakemake_that_is_built_otherwise_is_warned_of_and_runs(caplog: pytest.LogCaptureFixture) -> None:
    assert attach(SimpleNamespace()) is None
    assert "failed jobs are told from its log file alone" in caplog.text


def test_a_fault_of_the_recording_ends_it_and_not_the_run(recorder: Recorder, tmp_path: Path, capsys: Any) -> None:
    job_info(1)
    LOGGER.info("", extra={"event": LogEvent.PROGRESS, "done": "many"})
    job_info(2)
    assert isinstance(recorder.fault, KeyError | ValueError)
    log = tmp_path / ".snakemake/log/now.snakemake.log"
    recorder.path.unlink()
    put(log, (RECORDED / "local.snakemake.log").read_text())
    failures.tell([str(log)])
    assert "killed (SIGKILL)" in capsys.readouterr().err, "told from Snakemake's own log"


def test_what_cannot_be_written_is_told_from_memory(recorder: Recorder, tmp_path: Path, capsys: Any) -> None:
    put(tmp_path / ".snakemake/polybatch", "a file in the folder's place")
    job_info(1)
    error = {"jobid": 1, "rule_name": "part", "output": ["p.txt"], "log": ["p.log"], "shellcmd": "false", "aux": {}}
    LOGGER.error("", extra={"event": LogEvent.JOB_ERROR, "rule_msg": None, "indent": False, **error})
    assert recorder.fault is None
    failures.tell([str(tmp_path / "nowhere.snakemake.log")])
    assert "[1] part (n=1)" in capsys.readouterr().err


def test_threads_write_whole_lines(recorder: Recorder) -> None:
    threads = [
        threading.Thread(target=lambda first=first: [job_info(first + k) for k in range(50)]) for first in (0, 50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {json.loads(line)["job"] for line in recorder.path.read_text().splitlines()} == set(map(str, range(100)))


def test_events_that_say_nothing_of_a_job_are_left_out() -> None:
    record = logging.makeLogRecord({"event": LogEvent.DEBUG_DAG, "msg": None, "job": object()})
    assert described(record) is None
    assert set(events._DESCRIBED) - {""} <= {str(event) for event in LogEvent}
