"""Failed jobs are told in words, from logs that Snakemake and Slurm wrote, and from a run that fails here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from polybatch.cluster import causes, events, failures, jobs, run_log
from polybatch.cluster.jobs import SlurmFacts
from polybatch.cluster.run_log import Try
from polybatch.core.errors import DataError

# Recorded with Snakemake 9.27, its Slurm plugin 2.8 and Slurm 22.05; folders, machine and users were renamed.
RECORDED = Path(__file__).parents[2] / "data/logs"
WORKFLOW = Path(__file__).parents[3] / "workflow"
THERE = "/home/user/study"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The folder of the recorded run, with the logs that its jobs left."""
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    for recorded in RECORDED.glob("*.slurm.log"):
        place, _, number = recorded.name.removesuffix(".slurm.log").rpartition("-")
        put(tmp_path / f"results/logs/slurm/{place}/{number}.log", here(recorded, tmp_path))
    put(tmp_path / "results/logs/config_fault.log", "error: No pair.\n  where: c.parquet\n  to do: collect first\n")
    put(tmp_path / "results/logs/part/de/1.log", "start 1\nerror: shard 1 is bad.\n")
    put(
        tmp_path / "results/logs/defect.log",
        "begun\n" * 40 + "Traceback (most recent call last):\n  File\nKeyError: 1\n",
    )
    put(tmp_path / "results/logs/overtime.log", "10%\r50%\r70%\n\x1b[31mred\x1b[0m\n")
    put(tmp_path / "results/logs/killed.log", "working\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def here(recorded, folder):
    return recorded.read_text().replace(THERE, str(folder))


def run_of(name, folder):
    return run_log.parse(here(RECORDED / f"{name}.snakemake.log", folder))


def failed(run, known):
    return {failure.title: failure for failure in failures.find(run, known)}


KNOWN = jobs.parse_sacct((RECORDED / "sacct.txt").read_text())


@pytest.mark.parametrize("known", [KNOWN, {}], ids=["with accounts", "from logs alone"])
def test_every_failed_job_of_a_slurm_run_has_its_cause(study, known):
    found = failed(run_of("slurm", study), known)
    words = {title: failure.cause.words for title, failure in found.items()}
    assert words["config_fault"] == "No pair."
    assert words["part (lang=de, shard=1)"] == "shard 1 is bad."
    assert words["defect"] == "a Python exception: KeyError: 1"
    assert words["killed"].startswith("killed (SIGKILL)")
    assert words["nooutput"] == "its command ended well, but outputs were not seen within 5 s"
    assert words["refused"].startswith("Slurm refused the job: invalid partition specified: nosuch")
    assert "stopped at its time limit" in words["overtime"]
    assert re.match(r"out of memory.* asked for 800 MiB, measured 914 MiB", words["memory"])
    assert words["cancelled"].startswith("cancelled by")
    assert len(found) == 9
    # What helped on a retry did not fail.
    assert not any(title.startswith(("flaky", "preempted")) for title in found)


def test_accounts_tell_who_cancelled_where_and_the_limit(study):
    found = failed(run_of("slurm", study), KNOWN)
    assert found["cancelled"].cause.words == "cancelled by root on cpu3"
    assert found["overtime"].cause.words == "stopped at its time limit of 00:01:00 on cpu1"
    assert found["memory"].tried == "2 times with 400, 800 MB (Slurm jobs 25 FAILED, 34 OUT_OF_MEMORY)"


def test_more_memory_and_time_are_named_for_the_rule_and_its_last_try(study):
    found = failed(run_of("slurm", study), KNOWN)
    assert (
        found["memory"].cause.to_do
        == '`export POLYBATCH_RESOURCES="memory:mem_mb=1600"` before the next run (the last try had 800)'
    )
    assert "overtime:runtime=2" in found["overtime"].cause.to_do
    card = Try({"gpu": "2", "mem_mb": "64000"}, slurm_id="1")
    cause = causes.explain("train_run", card, SlurmFacts(state="OUT_OF_MEMORY"), log="", slurm_log="")
    assert "POLYBATCH_GPU_MEM_MB (the last try had 64000" in cause.to_do


def test_of_a_group_the_rule_that_failed_inside_is_named(study):
    group = failed(run_of("slurm", study), KNOWN)["part (lang=de, shard=1)"]
    assert [job.name for job in group.others] == ["part (lang=de, shard=4)", "part (lang=de, shard=5)"]
    assert group.log == Path("results/logs/part/de/1.log")
    (study / "results/logs/slurm/group_parts_part/36.log").unlink()
    assert "part (lang=de, shard=1), part (lang=de, shard=4)" in " ".join(failed(run_of("slurm", study), {}))


def test_report_shows_the_last_lines_and_what_came_of_the_run(study):
    log = Path(".snakemake/log/x.snakemake.log")
    text = "\n".join(failures.report(run_of("slurm", study), KNOWN, log=log, lines=3))
    assert "      | begun\n" not in text  # of a long log only the end
    assert "      | KeyError: 1\n" in text
    assert "      | 70%\n      | red\n" in text  # no progress bar in all its states, no colours
    assert "Succeeded on try 2 with 1000 MB: flaky (at first FAILED)" in text
    assert "Succeeded on try 2: preempted (at first stopped by Slurm from outside)" in text
    assert "6 of 20 steps are done, 11 failed, 3 wait or were not begun." in text
    assert text.endswith("Go on with the same command: snakemake --profile q")
    assert len(text.splitlines()) < 100


def test_where_the_rules_log_is_empty_slurms_own_lines_are_shown(study):
    found = failed(run_of("slurm", study), KNOWN)["memory"]
    shown = "\n".join(failures._shown(found, 15))
    assert "slurmstepd-cpu2: error: Exceeded job memory limit" in shown
    assert "SNAKEMAKE" not in shown


def test_fault_stays_visible_when_the_log_went_on_after_it(study):
    put(study / "results/logs/config_fault.log", "error: No pair.\n  where: c.parquet\n" + "closing\n" * 20)
    found = failed(run_of("slurm", study), KNOWN)["config_fault"]
    shown = list(failures._shown(found, 2))
    assert shown[1:] == ["  | error: No pair.", "  |   where: c.parquet", "  | ...", "  | closing", "  | closing"]


def test_an_empty_log_on_a_full_disk_tells_of_the_disk(study, monkeypatch):
    put(study / "results/logs/config_fault.log", "")
    monkeypatch.setattr(causes, "_NO_ROOM", 2**62)  # as if this disk were full
    found = failed(run_of("slurm", study), KNOWN)["config_fault"]
    assert found.cause.words == "the disk is full."
    assert found.cause.to_do.startswith("free some space")
    assert "is empty or was not written in this try" in "".join(failures._shown(found, 5))


def test_log_of_an_earlier_try_is_not_taken_for_that_of_the_last(study):
    log = study / "results/logs/config_fault.log"
    long_ago = time.mktime((2020, 1, 1, 0, 0, 0, 0, 0, -1))
    os.utime(log, (long_ago, long_ago))
    found = failed(run_of("slurm", study), KNOWN)["config_fault"]
    assert found.cause.words == "failed, and nothing says why"
    assert "is empty or was not written in this try" in "".join(failures._shown(found, 5))


def test_what_an_earlier_try_said_is_told_where_the_last_could_not_start(study):
    log = study / "results/logs/config_fault.log"
    run = run_of("slurm", study)
    begun = run.jobs["1"].tries[0].started.timestamp()
    os.utime(log, (begun + 5, begun + 5))
    run.jobs["1"].last.started += timedelta(minutes=5)
    told = "\n".join(failures.report(run, KNOWN, log=Path("x")))
    assert "said before, in results/logs/config_fault.log: error: No pair." in told


def test_step_that_could_not_start():
    line = "srun: error: Unable to create step for job 137: More processors requested than permitted\n"
    cause = causes.explain("r", Try(slurm_id="1"), SlurmFacts(state="FAILED"), log="", slurm_log=line)
    assert cause.words.startswith("Slurm could not start it on its node: Unable to create step")


def test_preempted_job_that_could_end_by_itself_is_not_told_as_failing(study):
    words = jobs.told((RECORDED / "rule_preempted-23.slurm.log").read_text())
    facts = jobs.merged(SlurmFacts(state="FAILED"), words)
    cause = causes.explain("train_run", Try(slurm_id="23"), facts, log="", slurm_log="")
    assert cause.words == "stopped by Slurm from outside: preempted, or cancelled"


def test_logs_that_show_failed_logs_copied_are_passed_over(study):
    run = run_of("shown_logs", study)
    assert set(run.jobs) == {"1", "2", "3", "4", "5", "6", "7", "10", "11", "12", "13"}
    assert {job.rule for job in run.jobs.values() if job.last.outcome == "failed"} == {"part", "defect"}
    assert run.jobs["11"].last.slurm_id == "2"
    assert not run.ended  # its end was cut off; those of the copied logs do not count


def test_interrupted_run_says_so(study):
    text = "\n".join(failures.report(run_of("interrupted", study), {}, log=Path("x")))
    assert text.startswith("No job failed")
    assert "0 of 4 steps are done, 0 failed, 2 were stopped or still run, 2 wait" in text
    assert "stopped by a user; its jobs were cancelled" in text


def test_killed_run_names_the_jobs_that_slurm_still_has(study):
    recorded = here(RECORDED / "interrupted.snakemake.log", study)
    run = run_log.parse(recorded.partition("Terminating")[0])
    first, second = run.submitted
    known = {first: SlurmFacts(state="RUNNING"), second: SlurmFacts(state="PREEMPTED")}
    text = "\n".join(failures.report(run, known, log=Path("x")))
    assert f"scancel {first}\nthen: snakemake --unlock\nthen: snakemake --profile q" in text
    assert f"Slurm took {second} away for good (PREEMPTED)" in text


def test_local_run_tells_exit_codes_and_signals(study):
    found = failed(run_of("local", study), {})
    assert found["several"].cause.words == "ended with exit status 3, and does not say why"
    assert found["killed"].cause.words.startswith("killed (SIGKILL)")
    assert found["nooutput"].cause.words.startswith("its command ended well")
    assert found["part (lang=de, shard=1)"].tried == "2 times"
    assert set(found) == {"several", "killed", "nooutput", "part (lang=de, shard=1)", "defect", "config_fault"}


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", "out of memory of the card"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 TiB\n", "out of memory: numpy._core"),
        ("Traceback (most recent call last):\n  x\nValueError: a\n", "a Python exception: ValueError: a"),
        (
            "[rank0]: Traceback (most recent call last):\n[rank0]:   x\n[rank0]: ValueError: a\n"
            "Traceback (most recent call last):\n  y\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n",
            "a Python exception: ValueError: a",
        ),
        ("error: first\nerror: second\n  found: 3\n", "second"),
        ("an error: in a sentence\n", "failed, and nothing says why"),
    ],
)
def test_words_of_a_stage(log, words):
    assert causes.explain("r", Try(), None, log=log, slurm_log="").words.startswith(words)


def test_what_to_do_is_found_behind_a_fact_of_several_lines():
    error = DataError("pip could not.", found="ERROR: no version\nERROR: no match\n", remedy="check the network")
    cause = causes.explain("r", Try(), None, log=f"error: {error}\nclosing\n", slurm_log="")
    assert (cause.words, cause.to_do) == ("pip could not.", "check the network")


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: couldn't chdir to `/home/user/study': No such file or directory: going to /tmp instead",
        "/bin/sh: 1: /opt/venv/bin/python3: not found",
        "/opt/venv/bin/python3: No module named snakemake",
    ],
)
def test_node_that_does_not_see_the_folder(line):
    cause = causes.explain("r", Try(slurm_id="1"), SlurmFacts(state="FAILED"), log="", slurm_log=f"{line}\n")
    assert cause.words.startswith("the node does not see")
    assert "docs/cluster.md" in cause.to_do


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=14.0. Some tasks were OOM Killed.", "OUT_OF_MEMORY"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch cgroup.", "OUT_OF_MEMORY"),
        ("slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***", "PREEMPTED"),
        ("srun: error: Node failure on n1", "NODE_FAIL"),
        ("a rule that prints: oom-kill", ""),
    ],
)
def test_words_of_slurm(line, state):
    assert jobs.told(f"{line}\n").state == state


def test_scontrol_is_read_where_there_are_no_accounts():
    facts = jobs.parse_scontrol(
        "JobId=34 JobName=run-1 JobState=TIMEOUT Reason=TimeLimit RunTime=00:01:15 TimeLimit=00:01:00 "
        "NodeList=cpu2 TRES=cpu=1,mem=800M,node=1,billing=1"
    )
    assert (facts.name, facts.state, facts.limit, facts.nodes, facts.asked_mib) == (
        "run-1",
        "TIMEOUT",
        "00:01:00",
        "cpu2",
        800,
    )


def test_slurm_that_is_not_there_does_not_answer_or_knows_other_jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs.look_up(["12"], "run") == {}
    command(tmp_path / "sacct", "echo '12|another|FAILED||500M|00:01:00|00:00:01|n1|1:0'")
    assert jobs.look_up(["12"], "run") == {}
    assert jobs.look_up(["12"], "another")["12"].state == "FAILED"
    command(tmp_path / "sacct", "exec /bin/sleep 60")
    monkeypatch.setattr(jobs, "_TIMEOUT_S", 0.3)
    assert jobs.look_up(["12"], "run") == {}


def command(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no run to report on(.|\n)*--log"):
        failures.main([])
    with pytest.raises(DataError, match="cannot be read"):
        failures.main(["--log", "nowhere.log"])
    put(tmp_path / "other.log", "words of something else\n\0\n")
    failures.main(["--log", "other.log"])
    assert re.search(r"Nothing is known.*other\.log", capsys.readouterr().err)
    failures.tell([str(tmp_path / "nowhere.log")])
    assert "The failed jobs cannot be told" in capsys.readouterr().err


SNAKEFILE = """
onerror:
    from polybatch.cluster import failures
    failures.tell(log)

rule all:
    input: "a.txt", "b.txt", "d.txt"

rule bad:
    output: "a.txt"
    log: "logs/a.log"
    resources: mem_mb=lambda w, attempt: 100 * attempt
    shell: "printf 'error: No pair.\\\\n  to do: collect first\\\\n' 2> {log} >&2; exit 1"

rule good:
    output: "b.txt"
    shell: "touch {output}"

rule waiting:
    input: "a.txt"
    output: "d.txt"
    shell: "touch {output}"
"""


def test_run_that_fails_reports_itself_and_can_be_asked_again(tmp_path):
    put(tmp_path / "Snakefile", SNAKEFILE)
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "--retries", "1", "--nocolor"]
    run = subprocess.run(
        snakemake, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 1
    report = run.stderr[run.stderr.index("What failed") :]
    for words in ("[1] bad\n", "cause: No pair.", "tried: 2 times with 100, 200 MB", "to do: collect first"):
        assert words in report
    assert "1 of 4 steps are done, 1 failed, 2 wait" in report
    assert (tmp_path / "b.txt").exists()
    again = [sys.executable, "-m", "polybatch.cluster.failures", "--lines", "1"]
    asked = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "cause: No pair." in asked.stderr


def test_a_node_that_cannot_open_the_jobs_log_is_told():
    """Slurm 22.05's accounts of a job on a node that does not see the folder; such a job leaves no log."""
    facts = jobs.parse_sacct("2|run|FAILED||1500M|00:20:00|00:00:00|far1|0:53\n")["2"]
    cause = causes.explain("collect", Try(outcome="failed"), facts, log="", slurm_log="")
    assert cause.words.startswith("far1 could not open the job's log")
    assert "polybatch cluster probe" in cause.to_do


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (137, "killed (SIGKILL)"),
        (139, "ended by the signal SIGSEGV"),
        (255, "ended with exit status 255"),
        (2, "ended"),
    ],
)
def test_a_shell_that_ran_what_was_killed_tells_of_it_by_its_status(status, words):
    attempt = Try(exit=f"returned non-zero exit status {status}")
    assert causes.explain("r", attempt, None, log="", slurm_log="").words.startswith(words)


@pytest.mark.parametrize(
    ("quiet", "dryrun", "told"), [("ALL", False, True), ("RULES", False, False), ("ALL", True, False)]
)
def test_a_refusal_is_told_where_snakemake_keeps_it_to_itself(capsys, quiet, dryrun, told):
    settings = SimpleNamespace(quiet=[SimpleNamespace(name=quiet)])
    workflow = SimpleNamespace(output_settings=settings, dryrun=dryrun)
    events.tell_refusal(workflow, DataError("It is wrong."))
    assert ("It is wrong." in capsys.readouterr().err) == told
