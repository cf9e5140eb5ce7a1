"""The cluster of these tests is one: it refuses, places, preempts and hides as a real one does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lab import SCRIPT, SHARED, Slurm, output, wait_until


@pytest.fixture
def folder(slurm: Slurm) -> Path:
    place = SHARED / "tests" / "slurm"
    place.mkdir(parents=True, exist_ok=True)
    return place


def test_another_slurm_is_left_alone(slurm: Slurm, tmp_path: Path) -> None:
    """In a mount namespace of its own, where /etc/slurm is somebody else's."""
    own = tmp_path / "slurm.conf"
    own.write_text("ClusterName=real\n", "utf-8")
    script = 'mount --bind "$1" /etc/slurm && "$2" up'
    namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tmp_path), str(SCRIPT)]
    done = subprocess.run(namespace, capture_output=True, text=True, check=False)
    if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower():
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 3
    assert "a Slurm of its own, which is left alone: /etc/slurm/slurm.conf" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["slurm.conf"]
    assert own.read_text("utf-8") == "ClusterName=real\n"


def test_a_second_start_changes_nothing(slurm: Slurm) -> None:
    before = output("scontrol", "show", "node", "cpu1")
    assert "starting" not in output(str(SCRIPT), "up")
    started = next(word for word in before.split() if word.startswith("SlurmdStartTime="))
    assert started in output("scontrol", "show", "node", "cpu1")


def test_jobs_see_the_cards_that_they_were_given(slurm: Slurm) -> None:
    one = ["srun", "--partition=gpu", "--mem=100", "sh", "-c", "echo seen=$CUDA_VISIBLE_DEVICES"]
    assert output(*one).strip() == "seen="
    assert output(*one[:2], "--gpus=fake:2", *one[2:]).strip() == "seen=0,1"


def test_a_job_makes_room_and_comes_back(slurm: Slurm, folder: Path) -> None:
    log = folder / "scavenge.log"
    log.unlink(missing_ok=True)
    whole = ["--parsable", "--nodelist=cpu3", "--cpus-per-task=4", "--mem=6000", "--time=5"]
    command = "echo began ${SLURM_RESTART_COUNT:-0}; exec sleep 120"
    place = ["--partition=scavenge", "--open-mode=append", f"--output={log}"]
    low = output("sbatch", *whole, *place, "--wrap", command).strip()
    wait_until(lambda: log.exists() and "began 0" in log.read_text("utf-8"), "the first start")
    high = output("sbatch", *whole, "--partition=cpu", "--output=/dev/null", "--wrap", "sleep 1").strip()
    wait_until(lambda: slurm.show(high)["JobState"] == "COMPLETED", "the job that takes its place")
    assert slurm.show(low)["Restarts"] == "1"
    assert "DUE TO PREEMPTION" in log.read_text("utf-8")
    slurm.cancel(low)


def test_a_job_where_the_folder_is_hidden_ends_before_it_began(slurm: Slurm, folder: Path) -> None:
    if not output("sinfo", "--noheader", "--partition=far").strip():
        pytest.skip("mounting is not allowed here, so every node sees every folder")
    log = folder / "far.log"
    done = subprocess.run(
        ["sbatch", "--wait", "--parsable", "--partition=far", f"--output={log}", "--wrap", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    job = done.stdout.strip()
    assert done.returncode != 0
    wait_until(lambda: slurm.accounting(job, "State").get("State") == "FAILED", "the accounts", 20)
    assert slurm.accounting(job, "State", "ExitCode", "NodeList") == {
        "State": "FAILED",
        "ExitCode": "0:53",
        "NodeList": "far1",
    }
    assert not log.exists()
