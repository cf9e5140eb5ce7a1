"""Trainings by several processes on the CPU (gloo), forked because the libraries take longer to import than they train."""

import json
import multiprocessing
import os
import signal
import time

from toy_training import options, run

from polybatch.training.processes import Ranks


def forked(work, world_size=2, timeout=600):
    """Runs `work(ranks)` in so many processes; returns their exit codes."""
    from torch.distributed import TCPStore

    # The parent listens, on a port that the kernel picks: one picked here and given back might be another's by then.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if world_size > 1 else None

    def process(rank):
        if store:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
            os.environ.update(LOCAL_WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port))
            os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        work(Ranks.of_environment())

    children = [multiprocessing.get_context("fork").Process(target=process, args=(r,)) for r in range(world_size)]
    for child in children:
        child.start()
    deadline = time.monotonic() + timeout
    try:
        for child in children:
            child.join(max(0, deadline - time.monotonic()))
        return [child.exitcode for child in children]
    finally:
        for child in children:  # one that hangs would be waited for at the end of pytest, for ever
            child.kill()


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


def wait_for_sigterm(ready):
    """Makes the file `ready`, and goes on when SIGTERM has come, however late that is.

    Whoever sends it waits for the files of all processes, else one would wait here for a signal that came before.
    """
    came, usual = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *args: (came.append(True), usual(*args)))
    ready.touch()
    while not came:
        time.sleep(0.01)


def trained(study, folder, ranks, encoder="encoder", **changes):
    """Trains; the first process keeps result and weights in files beside the checkpoints."""
    from safetensors.torch import save_file

    model, result, _ = run(study, folder, options(**changes), encoder=encoder, ranks=ranks)
    if ranks.first:
        save_file(model.state_dict(), folder / "kept.safetensors")
        (folder / "kept.json").write_text(json.dumps(result))


def kept(folder):
    return json.loads((folder / "kept.json").read_text()), (folder / "kept.safetensors").read_bytes()
