"""Trainings by several processes on the CPU (gloo), forked because the libraries take longer to import than they train."""

import multiprocessing
import os
import signal
import socket

from polybatch.training.processes import Ranks


def forked(work, world_size=2, timeout=120):
    """Runs `work(ranks)` in so many processes; returns their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank):
        if world_size > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
            os.environ.update(LOCAL_WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        work(Ranks.of_environment())

    children = [multiprocessing.get_context("fork").Process(target=process, args=(r,)) for r in range(world_size)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout)
    return [child.exitcode for child in children]


def watch(callback, monkeypatch=None):
    """Adds a callback to the trainings of this process."""
    from polybatch.training import trainer

    usual = trainer.callbacks
    trainer.callbacks = lambda *args: [*usual(*args), callback]


def at_step(step, act):
    """A callback that acts when so many steps are done."""
    from transformers import TrainerCallback

    class At(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                act()

    return At()


def kill_myself(with_signal=signal.SIGKILL):
    os.kill(os.getpid(), with_signal)
