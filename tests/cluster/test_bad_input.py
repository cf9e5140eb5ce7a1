"""What a cluster cannot do is told before anything is submitted, with what to set; on a real Slurm."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lab import Project, Slurm

TARGET = "collect"
SLURM_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare", "salloc")


def refused(project: Project, *arguments: str, profile: str = "profiles/slurm", **settings: str) -> str:
    """What a run says that must not get as far as submitting a job."""
    done = project.snakemake(*(arguments or (TARGET,)), settings=settings, profile=profile, timeout_s=120)
    assert done.returncode != 0, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    assert "has been submitted" not in done.stdout
    return done.stdout


def without_slurm(folder: Path) -> str:
    """A PATH with everything but Slurm's commands."""
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if program.name not in SLURM_COMMANDS and not link.is_symlink():
                link.symlink_to(program)
    return f"{Path(sys.executable).parent}{os.pathsep}{folder}"


def test_no_slurm_on_this_machine(project: Project, tmp_path: Path) -> None:
    said = refused(project, PATH=without_slurm(tmp_path / "bin"))
    assert "There is no Slurm on this machine" in said
    assert "login node" in said
    assert "profiles/default" in said


def test_a_controller_that_does_not_answer(project: Project, tmp_path: Path) -> None:
    lines = Path("/etc/slurm/slurm.conf").read_text("utf-8").splitlines()
    moved = ["SlurmctldPort=26999" if line.startswith("SlurmctldPort=") else line for line in lines]
    (tmp_path / "slurm.conf").write_text("\n".join(moved) + "\n", "utf-8")
    said = refused(project, SLURM_CONF=str(tmp_path / "slurm.conf"))
    assert "Slurm's controller does not answer" in said
    assert "is DOWN" in said


def test_an_unknown_partition_and_an_unknown_account_are_told_together(project: Project) -> None:
    said = refused(project, POLYBATCH_CPU_PARTITION="nope", POLYBATCH_ACCOUNT="strangers")
    assert "2 fault(s)" in said
    assert "there is no partition 'nope'; there are: cpu (default), short, gpu" in said
    assert "POLYBATCH_CPU_PARTITION" in said
    assert "the account 'strangers' is none of yours; yours: lab" in said
    assert "POLYBATCH_ACCOUNT" in said


def test_a_card_where_there_is_none(project: Project) -> None:
    said = refused(project, "tables", POLYBATCH_GPUS="1", POLYBATCH_GPU_PARTITION="", POLYBATCH_GPU_TYPE="")
    assert "the partition 'cpu' has none; partitions with cards: gpu (fake: 2)" in said
    assert "train_run" in said
    assert "POLYBATCH_GPU_PARTITION" in said


def test_a_card_of_another_kind(project: Project) -> None:
    said = refused(project, "tables", POLYBATCH_GPUS="1", POLYBATCH_GPU_TYPE="a100")
    assert "no card of the type 'a100' in 'gpu'; there are: fake: 2" in said
    assert "POLYBATCH_GPU_TYPE" in said


def test_more_cards_memory_and_time_than_there_are(project: Project) -> None:
    settings = {"POLYBATCH_GPUS": "4", "POLYBATCH_CPUS_PER_GPU": "1", "POLYBATCH_GPU_MEM_MB": "9000"}
    said = refused(project, "tables", **settings, POLYBATCH_GPU_MINUTES="20000")
    assert "4 cards are asked for, but a node of 'gpu' has 2 at most" in said
    assert "9000 MB are asked for, but a node of 'gpu' has 8000 MB at most" in said
    assert "20000 minutes are asked for, but 'gpu' allows 10080" in said
    assert all(name in said for name in ("POLYBATCH_GPUS", "POLYBATCH_GPU_MEM_MB", "POLYBATCH_GPU_MINUTES"))


def test_a_profile_of_ones_own_that_lacks_what_ours_sets(project: Project) -> None:
    own = project.folder / "own"
    own.mkdir()
    (own / "config.yaml").write_text("executor: slurm\n", "utf-8")
    assert "--jobs" in refused(project, profile="own"), "Snakemake itself says that this is missing"
    resources = "default-resources: {slurm_partition: nope}"
    (own / "config.yaml").write_text(f"executor: slurm\njobs: 5\n{resources}\n", "utf-8")
    said = refused(project, profile="own")
    assert "slurm-status-command: squeue" in said
    assert "there is no partition 'nope'" in said


def test_a_dry_run_asks_nobody(project: Project) -> None:
    done = project.snakemake(TARGET, "--dry-run", settings={"POLYBATCH_CPU_PARTITION": "nope"})
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_failed_job_is_told_however_quiet_snakemake_is(project: Project) -> None:
    source = project.folder / "toy.jsonl"
    good = source.read_text("utf-8")
    source.write_text(good + '{"group": "x", "lang": "en", "question": "", "answer": "y"}\n', "utf-8")
    settings = {"POLYBATCH_SMALL": "1"}
    done = project.snakemake(TARGET, "--quiet", "all", "--retries=1", settings=settings, timeout_s=300)
    source.write_text(good, "utf-8")
    assert done.returncode != 0
    told = done.stdout[done.stdout.index("What failed") :]
    assert "collect_source (source=toy)" in told
    assert "cause: 1 row(s) of the source cannot be used." in told
    assert "found: line 361: empty question" in told
    assert re.search(r"tried: 2 times.* \(Slurm jobs \d+ FAILED, \d+ FAILED\)", told)
    assert "in the same Slurm job, to be done again with it: " in told
    again = subprocess.run(
        [sys.executable, "-m", "polybatch", "failures"],
        cwd=project.folder,
        env=project.environment({"PYTHONPATH": str(project.folder / "workflow")}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "found: line 361: empty question" in again.stderr


def test_what_the_cluster_offers_and_takes(project: Project) -> None:
    def ask(**settings: str) -> subprocess.CompletedProcess[str]:
        environment = project.environment({"PYTHONPATH": str(project.folder / "workflow"), **settings})
        command = [sys.executable, "-m", "polybatch", "cluster", "check"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = ask()
    assert done.returncode == 0, done.stderr
    assert re.search(r"^gpu +up .* 2 fake +1 of 1$", done.stdout, re.M)
    assert "your accounts: lab" in done.stdout
    assert "Slurm would take jobs without cards." in done.stdout
    refused = ask(POLYBATCH_GPUS="3", POLYBATCH_GPU_TYPE="fake")
    assert refused.returncode == 1
    assert "3 cards are asked for, but a node of 'gpu' has 2 at most" in refused.stderr


@pytest.fixture
def far(slurm: Slurm) -> str:
    done = subprocess.run(["sinfo", "--noheader", "--partition=far"], capture_output=True, text=True, check=True)
    if not done.stdout.strip():
        pytest.skip("mounting is not allowed here, so every node sees every folder")
    return "far"


def test_the_probe_tells_what_nodes_do_not_see(project: Project, far: str) -> None:
    done = probe(project, "--partition=cpu", f"--partition={far}", "--gpu-partition=gpu", "--gpus=1")
    assert done.returncode == 1
    assert "cpu: as it should be" in done.stdout
    assert "gpu: as it should be" in done.stdout
    assert f"far: the node far1 does not see the working directory {project.folder}" in done.stderr
    assert "1. far" in done.stderr
    assert "2." not in done.stderr
    assert not list(project.folder.glob(".polybatch-probe*"))


def test_the_probe_tells_of_a_python_and_a_cache_that_a_node_lacks(project: Project, far: str) -> None:
    """Both lie in the folder that the node does not see, as a home directory may."""
    hub = project.folder / "hub"
    hub.mkdir(exist_ok=True)
    python = project.folder / "python"
    python.symlink_to(sys.executable)
    try:
        done = probe(project, f"--partition={far}", python=str(python), HF_HOME=str(hub))
    finally:
        python.unlink()
    assert done.returncode == 1
    assert "cannot run" in done.stderr
    assert f"does not see the hub's cache {hub}" in done.stderr
    assert "HF_HOME" in done.stderr


def probe(
    project: Project, *flags: str, python: str = sys.executable, **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = {**project.environment(settings), "PYTHONPATH": str(project.folder / "workflow")}
    if python != sys.executable:  # a link to an interpreter does not find what its environment has installed
        environment["PYTHONPATH"] += os.pathsep + next(path for path in sys.path if path.endswith("site-packages"))
    command = [python, "-m", "polybatch.cluster.ask", "probe", "--wait=60", *flags]
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)


def test_a_run_on_nodes_that_do_not_share_the_folder(project: Project, far: str) -> None:
    done = project.snakemake(TARGET, "--retries=0", settings={"POLYBATCH_CPU_PARTITION": far}, timeout_s=180)
    assert done.returncode != 0
    assert "polybatch cluster probe" in done.stdout, done.stdout[-3000:]
