"""Trainings by two processes on the CPU (gloo) that are killed, or asked to stop, and go on.

Where signals matter, torch's own launcher starts the processes.
"""

import json
import multiprocessing
import os
import signal
import sys
import time

import pytest
from toy_processes import at_step, forked, kept, kill_myself, trained, wait_for_sigterm, watch
from toy_training import command, make_study, options, weights

from polybatch.core import checkpoints
from polybatch.training.inputs import load_encoder
from polybatch.training.preemption import TrainingStoppedError
from polybatch.training.train import main

# Dropout, hard negatives, adapters: all that draws random numbers, and all that a checkpoint has to hold.
RANDOM = {"max_steps": 12, "hard_negatives": 2, "lora_r": 4, "lora_dropout": 0.1, "matryoshka_dims": [8, 16]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    """Result and weights of an undisturbed training, by the number of processes."""
    folder, found = tmp_path_factory.mktemp("unbroken"), {}
    for world_size in (1, 2):
        to = folder / str(world_size)
        assert forked(lambda ranks, to=to: trained(study, to, ranks, **RANDOM), world_size) == [0] * world_size
        found[world_size] = kept(to)
    return found


def test_killed_together_two_processes_resume_to_the_same_weights(study, tmp_path, unbroken):
    def killed(ranks):
        watch(at_step(9, kill_myself))
        trained(study, tmp_path / "run", ranks, **RANDOM)

    assert forked(killed) == [-signal.SIGKILL] * 2
    assert checkpoints.num_ranks(tmp_path / "run" / "checkpoint-8") == 2
    assert forked(lambda ranks: trained(study, tmp_path / "run", ranks, **RANDOM)) == [0, 0]
    assert kept(tmp_path / "run") == unbroken[2]


@pytest.mark.parametrize("world_size", [1, 2])
def test_asked_to_stop_a_training_saves_ends_and_continues_to_the_same_weights(study, tmp_path, unbroken, world_size):
    """The last process alone gets the signal, in the middle of nowhere: no checkpoint and no validation is due."""

    def stopped(ranks):
        if ranks.rank == world_size - 1:
            watch(at_step(6, lambda: kill_myself(signal.SIGTERM)))
        try:
            trained(study, tmp_path / "run", ranks, **RANDOM)
        except TrainingStoppedError as error:
            (tmp_path / f"error-{ranks.rank}").write_text(str(error))
            os._exit(3)

    assert forked(stopped, world_size) == [3] * world_size
    saved = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    state = checkpoints.state_of(tmp_path / "run" / "checkpoint-7")
    assert saved == ["checkpoint-6", "checkpoint-7"] and not checkpoints.is_finished(state)
    assert state["best_global_step"] == 6
    assert "step 7 of 12" in (tmp_path / "error-0").read_text()
    codes = forked(lambda ranks: trained(study, tmp_path / "run", ranks, **RANDOM), world_size)
    assert codes == [0] * world_size
    assert kept(tmp_path / "run") == unbroken[world_size]


def launched(tmp_path, work, until=(), with_signal=signal.SIGTERM):
    """Runs `work()` in two processes of torch's launcher, in a session of its own; returns what the launcher said.

    Once the files `until` are there, the whole session gets the signal, as a Slurm job does.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def launch():
        os.setsid()
        descriptor = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        sys.stderr = os.fdopen(descriptor, "w", buffering=1)
        config = LaunchConfig(
            1,
            1,
            2,
            run_id="test",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            start_method="fork",
        )
        try:
            elastic_launch(config, work)()
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            (tmp_path / "failure").write_text(json.dumps([rank, failure.exitcode]))
        except SignalException as error:
            (tmp_path / "failure").write_text(json.dumps([error.sigval.name]))

    (tmp_path / "failure").unlink(missing_ok=True)
    child = multiprocessing.get_context("fork").Process(target=launch)
    child.start()
    try:
        if until:
            while not all(file.exists() for file in until):
                assert child.is_alive(), (tmp_path / "stderr").read_text()
                time.sleep(0.02)
            assert os.getpgid(child.pid) == child.pid
            os.killpg(child.pid, with_signal)
        child.join(600)
        assert child.exitcode == 0
    finally:
        if child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)
    return json.loads((tmp_path / "failure").read_text()) if (tmp_path / "failure").exists() else None


def test_a_job_that_slurm_ends_is_continued_to_the_same_model(study, tmp_path):
    """SIGTERM to everything at once: launcher, training processes, and those that prepare their batches."""
    from polybatch.core import stage

    settings = json.dumps(options(max_steps=20, num_workers=1).as_dict())

    def work(name, slowly=False):
        if slowly:
            watch(at_step(9, lambda: wait_for_sigterm(tmp_path / f"at-step-9-{os.environ['RANK']}")))
        stage.run(main, command(study, tmp_path / name, options=settings))

    assert launched(tmp_path, lambda: work("whole")) is None
    at_step_9 = [tmp_path / f"at-step-9-{rank}" for rank in range(2)]
    assert launched(tmp_path, lambda: work("cut", slowly=True), until=at_step_9) == ["SIGTERM"]
    told = (tmp_path / "stderr").read_text()
    assert told.count("error: The training was asked to stop (SIGTERM)") == 1, told
    (last,) = (tmp_path / "cut" / "checkpoints").glob("checkpoint-1?")
    assert not (tmp_path / "cut" / "model").exists()
    assert launched(tmp_path, lambda: work("cut")) is None
    told = (tmp_path / "stderr").read_text()
    assert told.count(f"resuming from {last}") == 1 and told.count("trained ") == 1, told
    whole, cut = (load_encoder(str(tmp_path / name / "model")) for name in ("whole", "cut"))
    assert weights(whole) == weights(cut)
    record = json.loads((tmp_path / "cut" / "model" / "training.json").read_text())
    assert record["world_size"] == 2 and record["options"]["precision"] == "fp32"


def test_a_process_that_dies_ends_the_others_at_once(study, tmp_path):
    from polybatch.core import stage

    died = tmp_path / "died"

    def die():
        died.write_text(str(time.monotonic()))  # a clock that all processes of a machine share
        kill_myself()

    def work():
        if os.environ["RANK"] == "1":
            watch(at_step(5, die))
        stage.run(main, command(study, tmp_path))

    assert launched(tmp_path, work) == [1, -signal.SIGKILL], (tmp_path / "stderr").read_text()
    # Left to itself, gloo waits for half an hour.
    assert time.monotonic() - float(died.read_text()) < 60
