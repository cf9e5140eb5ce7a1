"""The whole chain on a real Slurm: the workstation's scores, cards, ranks, killed and preempted jobs.

The study is the toy one of tests/workflow with longer trainings, so that a job can be caught in the middle of one.
Its numbers mean nothing; that they are the same everywhere is what is tested.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from lab import Project, Slurm, copy_project, output, wait_until

pytestmark = pytest.mark.whole

BASE = Path("results/toy")
RUN = "toy/hybrid-a0.5/nall/en+de/s1"
OTHER_RUN = "toy/x-x-mono/nall/en+de/s1"
CARDS = {"POLYBATCH_GPUS": "1"}


def lengthened(project: Project) -> Project:
    """The same project, with trainings of about half a minute and a checkpoint every second or two."""
    path = project.folder / project.configfile
    study = yaml.safe_load(path.read_text("utf-8"))
    study["languages"]["evaluate"] = ["en", "de"]
    study["training"] |= {"max_steps": 3000, "eval_steps": 100, "save_steps": 100}
    path.write_text(yaml.safe_dump(study), "utf-8")
    return project


def copied(project: Project, name: str) -> Project:
    """A second folder with the same project and its results."""
    folder = project.folder.with_name(f"{project.folder.name}-{name}")
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("locks", "incomplete"), symlinks=True)
    return Project(folder, project.configfile)


@pytest.fixture(scope="module")
def workstation(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study as a workstation runs it, without Slurm."""
    project = lengthened(copy_project(tmp_path_factory.mktemp("workstation") / "project"))
    done = project.snakemake("--cores", "2", profile="profiles/default")
    assert done.returncode == 0, done.stdout[-4000:]
    return project


@pytest.fixture(scope="module")
def finished(project: Project) -> tuple[Project, str]:
    """The study after a run on the CPU nodes during which its jobs were disturbed, and what the run printed.

    One training is preempted by a job of a higher partition, the other is killed; so is a shard of the translation.
    """
    lengthened(project)
    log = project.folder / "run.log"
    run = project.start(log=log, settings={"POLYBATCH_CPU_PARTITION": "scavenge"})
    try:
        _kill_translation(project, run)
        _kill(_caught_training(project, OTHER_RUN, run))
        _preempt(_caught_training(project, RUN, run))
        assert run.wait(600) == 0, log.read_text("utf-8")[-4000:]
    finally:
        run.kill()
    return project, log.read_text("utf-8")


def _kill_translation(project: Project, run: subprocess.Popen[bytes]) -> None:
    shard = project.folder / BASE / "logs/translate/de/0.log"
    _wait(shard.is_file, "a shard of the translation to begin", run)
    _kill(_submitted(project, "translate_shard")[-1])


def _caught_training(project: Project, name: str, run: subprocess.Popen[bytes]) -> str:
    """The Slurm job of a training that has written its second checkpoint and is not at its end."""
    folder = project.folder / BASE / "checkpoints" / name
    _wait((folder / "checkpoint-200").exists, f"a checkpoint of {name}", run)
    jobs = {job for path in Path("/proc").iterdir() if path.name.isdecimal() and (job := _job_of(path, name, project))}
    assert len(jobs) == 1, f"Slurm jobs that train {name}: {jobs}"
    return jobs.pop()


def _job_of(process: Path, name: str, project: Project) -> str | None:
    """The Slurm job of a process, if it is a training of that run in that project."""
    try:
        words = (process / "cmdline").read_bytes().decode().split("\0")
        here = (process / "cwd").resolve() == project.folder
        environment = (process / "environ").read_bytes().decode().split("\0")
    except (OSError, UnicodeDecodeError):
        return None
    if (
        not here
        or "polybatch.training.train" not in words
        or not any(word.endswith(f"checkpoints/{name}") for word in words)
    ):
        return None
    return dict(line.split("=", 1) for line in environment if "=" in line).get("SLURM_JOB_ID")


def _wait(condition: object, what: str, run: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: condition() or run.poll() is not None, what, 300)  # type: ignore[operator]
    assert run.poll() is None, f"the run ended while it was waited for {what}"


def _submitted(project: Project, rule: str) -> list[str]:
    """Numbers of the Slurm jobs of a rule, or of groups with it, in the order of submission."""
    said = (project.folder / "run.log").read_text("utf-8")
    return re.findall(rf"SLURM jobid (\d+) \(log: \S*{rule}\S*\)", said)


def _kill(job: str) -> None:
    """SIGKILL for all processes of a job: nothing can be tidied up."""
    output("scancel", "--full", "--signal=KILL", job)


def _preempt(job: str) -> None:
    """Submits a job of a higher partition that needs the whole node, so that Slurm stops the lower one.

    After the signal the partition's grace time goes by. A training ends itself in it, so Slurm does not queue it again.
    """
    node = output("squeue", "--noheader", "--format=%N", f"--jobs={job}").strip()
    partition = "gpu" if node.startswith("gpu") else "cpu"
    output("sbatch", "-p", partition, "-w", node, "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    running = ("squeue", "--noheader", "--states=RUNNING", "--format=%A")
    wait_until(lambda: job not in output(*running).split(), "the preemption", 60)


def scores(project: Project) -> dict[str, bytes]:
    """Every score file, byte by byte."""
    root = project.folder / BASE / "scores"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def training(project: Project, name: str) -> dict[str, object]:
    return json.loads((project.folder / BASE / "models" / name / "training.json").read_text("utf-8"))


def rule_log(project: Project, name: str) -> str:
    return (project.folder / BASE / "logs" / name).read_text("utf-8")


def test_disturbed_jobs_end_with_the_workstations_scores(finished: tuple[Project, str], workstation: Project) -> None:
    project, _ = finished
    assert scores(project) == scores(workstation)
    for name in (RUN, OTHER_RUN):
        here, there = training(project, name), training(workstation, name)
        assert here["validation_losses"] == there["validation_losses"]
        assert "resuming from" in rule_log(project, f"train/{name}.log")
        model = BASE / "models" / name / "model.safetensors"
        assert (project.folder / model).read_bytes() == (workstation.folder / model).read_bytes()


def test_a_killed_job_is_told_and_tried_again(finished: tuple[Project, str]) -> None:
    _, said = finished
    assert (
        said.count("Trying to restart job") >= 2
    )  # the translation and one training; Slurm restarts the preempted one
    assert "100%" in said


def test_logs_are_where_the_profile_says(finished: tuple[Project, str]) -> None:
    project, said = finished
    places = re.findall(r"\(log: (\S+)\)", said)
    assert places
    assert all(Path(place).is_relative_to(project.folder / "results/logs/slurm") for place in places)


def test_a_single_stage_again(finished: tuple[Project, str]) -> None:
    project, _ = finished
    before = scores(project)
    done = project.snakemake("score", "--forcerun", "score_run")
    assert done.returncode == 0, done.stdout[-4000:]
    assert set(re.findall(r"^rule (\w+):|Group job (\w+)", done.stdout, re.MULTILINE)) <= {
        ("score_run", ""),
        ("", "run"),
        ("score", ""),
    }
    assert scores(project) == before


def test_cards_are_given_to_those_who_ask_and_to_no_one_else(finished: tuple[Project, str], slurm: Slurm) -> None:
    """From the translation on, embedding in two shards: what asks for a card runs in the partition with cards."""
    project = copied(finished[0], "cards")
    study = yaml.safe_load((project.folder / project.configfile).read_text("utf-8"))
    study["encoding"] = {"shards": 2}
    (project.folder / project.configfile).write_text(yaml.safe_dump(study), "utf-8")
    before = scores(project)
    done = project.snakemake("score", "--forcerun", "translate_shard", "train_run", settings=CARDS)
    assert done.returncode == 0, done.stdout[-4000:]
    assert scores(project) == before
    on_cards = {"translate_shard", "train_run", "encode_shard"}
    found: dict[str, set[str]] = {}
    for place, job in re.findall(r"/logs/slurm/([^/\s]+)/\S*?(\d+)\.log\)", done.stdout):
        facts = slurm.accounting(job, "Partition", "AllocTRES")
        rules = {rule for rule in on_cards if rule in place}
        assert facts["Partition"] == ("gpu" if rules else "cpu"), (place, facts)
        assert ("gres/gpu=1" in facts["AllocTRES"]) == bool(rules), (place, facts)
        for rule in rules:
            found.setdefault(rule, set()).add(job)
    assert set(found) == on_cards
    assert len(found["translate_shard"]) == 2
    used = [rule_log(project, f"translate/de/{shard}.log") for shard in (0, 1)]
    assert {re.search(r"cards of this job: (\S+)", log).group(1) for log in used} == {"0", "1"}  # type: ignore[union-attr]
    assert "BUT COMPUTING ON THE CPU" in rule_log(project, f"train/{RUN}.log")  # these cards are stand-ins


def test_a_training_on_two_cards_draws_the_same_batches(finished: tuple[Project, str]) -> None:
    project = copied(finished[0], "ranks")
    model = f"{BASE}/models/{RUN}"
    before, batches = training(project, RUN), pd.read_parquet(project.folder / model / "batches.parquet")
    done = project.snakemake(model, "--force", settings={**CARDS, "POLYBATCH_GPUS": "2"})
    assert done.returncode == 0, done.stdout[-4000:]
    after = training(project, RUN)
    assert (before["world_size"], after["world_size"]) == (1, 2)
    pd.testing.assert_frame_equal(batches, pd.read_parquet(project.folder / model / "batches.parquet"))
    first = [next(iter(record["validation_losses"].values())) for record in (before, after)]  # type: ignore[attr-defined]
    assert first[0] == pytest.approx(first[1], rel=1e-3)


def test_too_little_memory_grows_with_the_tries(finished: tuple[Project, str], slurm: Slurm) -> None:
    """A training, because it lasts longer than the five seconds between two looks of Slurm at a job's memory."""
    project = copied(finished[0], "memory")
    grown = ["--set-resources", "train_run:mem_mb=300 * attempt"]
    done = project.snakemake(f"{BASE}/models/{RUN}", "--force", "--retries", "4", *grown)
    assert done.returncode == 0, done.stdout[-4000:]
    tries = [slurm.accounting(job, "State", "ReqTRES") for job in re.findall(r"SLURM jobid (\d+)", done.stdout)]
    assert len(tries) > 1
    assert [f"mem={300 * number}M" in told["ReqTRES"] for number, told in enumerate(tries, 1)] == [True] * len(tries)
    # Without cgroups Slurm says FAILED of a job that it ended for its memory.
    assert [told["State"] == "COMPLETED" for told in tries] == [False] * (len(tries) - 1) + [True]
