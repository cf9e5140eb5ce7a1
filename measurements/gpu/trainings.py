"""Trainings on a card beside sentence-transformers' trainer, and where a step's time goes.

inputs: the machine's encoder and pairs
outputs: lines of JSON on standard output
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import measure
import models
import train
import train_peer
from machine import Machine, say
from train_inputs import LANGS, made_up

from polybatch.core.errors import PolybatchError

_PROFILED_STEPS, _KERNELS = 5, 12


def trainings(at: Machine) -> None:
    """Both sides in this one process, which spares their start-up where minutes are all there is; steady steps count.

    multilingual-e5-small on natural text, and XLM-R-base with random weights: the paper's batch of 100.
    """
    few, batch = (6, 8) if at.rehearse else (80, 100)
    data = at.data / "pairs"
    base = train.Training("XLM-R base", base_encoder(at), few, batch, few, 3e-5, temperature=0.05)
    e5 = train.Training("e5-small, all weights", at.encoder, few, batch, few, 1e-5, temperature=0.01)
    frozen = dataclasses.replace(e5, title="e5-small, frozen word embeddings", freeze_embeddings=True)
    for one in (base, e5, frozen):
        compared(at, one, data)


def large_batches(at: Machine) -> None:
    """XLM-R-base, batches of 4,096 made-up pairs in parts (GradCache), of several sizes."""
    few, batch, parts = (6, 16, (4, 8)) if at.rehearse else (4, 4_096, (1_024, 256))
    data = at.data / "pairs" if at.rehearse else made_up(at.scratch / "made-up", 8_000, LANGS)
    for part in parts:
        title = f"XLM-R base, {batch:,} in parts of {part}"
        one = train.Training(title, base_encoder(at), few, batch, few, 3e-5, part, temperature=0.05)
        _measured(at, one, data, train.OURS)
    _measured(at, one, data, train.PEER)


def base_encoder(at: Machine) -> Path:
    made = at.scratch / "xlmr"
    shape = {"layers": 1, "width": 64} if at.rehearse else {}
    return made if made.is_dir() else models.random_xlmr(at.encoder, made, **shape)


def compared(at: Machine, training: train.Training, data: Path) -> None:
    """Both trainers on the same work, what share of the card's peak they use, and how many pairs a second."""
    try:
        train.require_same_gradients(training, data, at.device)
        same = "equal loss and gradients"
    except PolybatchError as error:
        same = str(error)
    say(training=training.title, beside_the_peers=same)
    for side in (train.OURS, train.PEER):
        _measured(at, training, data, side)


def _measured(at: Machine, training: train.Training, data: Path, side: str) -> None:
    folder = at.scratch / "trained"
    shutil.rmtree(folder, ignore_errors=True)
    _free(at)
    start = time.perf_counter()
    try:
        said = (_peers if side == train.PEER else _own)(at, training, data, folder)
    except Exception as error:  # the other side's numbers are worth having
        say(training=training.title, side=side, failed=f"{type(error).__name__}: {str(error)[-1500:]}")
        return
    result = measure.Result(time.perf_counter() - start, 0.0, 0, said["units"], said["seconds"], said)
    tera = train.teraflops(training, result)
    cards = measure.machine()["gpu"]
    peak = next((tera for name, tera in train.PEAKS.items() if cards and name in cards[0]), None)
    told = {key: said.get(key) for key in ("card_bytes", "tokens", "computed", "passes", "steady", "seconds")}
    told |= {"steady_rate": train.steady_rate(training, result), "wall": result.seconds, "loss": _loss(folder)}
    say(training=training.title, side=side, tflops=tera, of_peak=tera / peak if peak else None, **told)


def _loss(folder: Path) -> float | None:
    """The validation loss of our own trainings."""
    record = folder / "model" / "training.json"
    return json.loads(record.read_text("utf-8")).get("validation_loss") if record.is_file() else None


def _own(at: Machine, training: train.Training, data: Path, folder: Path) -> dict[str, Any]:
    options = json.dumps(train.options_of(training, at.device))
    parallel = [f"{path.stem}={path}" for path in sorted((data / "parallel").glob("??.parquet"))]
    made = {"train": folder, "encoder": training.encoder, "parallel": parallel, "options": options}
    return train.run_stage(argparse.Namespace(**made, validation=data / "validation.parquet"))


def _peers(at: Machine, training: train.Training, data: Path, folder: Path) -> dict[str, Any]:
    command = train.peer_command(data, training, folder, at.device)
    return train_peer.train(train_peer.arguments().parse_args(command[2:]))


def _free(at: Machine) -> None:
    """Gives back what the last training took of the card, and forgets how much that was."""
    import gc

    import torch

    gc.collect()
    if at.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def profiles(at: Machine) -> None:
    """A few steps without a trainer: what its host takes, how long the card is busy, and with what."""
    for title, encoder in (("XLM-R base", base_encoder(at)), ("e5-small", at.encoder)):
        _free(at)
        say(profile=title, **_profiled(at, encoder))


def _profiled(at: Machine, encoder: Path) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    step = models.steps_of(encoder, at.data / "pairs", at.device, 8 if at.rehearse else 100)
    for _ in range(1 if at.rehearse else 8):
        step()
    _settle()
    begin = time.perf_counter()
    hosts = []
    for _ in range(_PROFILED_STEPS):
        start = time.perf_counter()
        step()
        hosts.append(time.perf_counter() - start)
    _settle()
    seconds = (time.perf_counter() - begin) / _PROFILED_STEPS
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if at.device == "cuda" else [])
    with profile(activities=kinds) as told:
        for _ in range(_PROFILED_STEPS):
            step()
        _settle()
    kernels = [event for event in told.key_averages() if event.self_device_time_total > 0 and _is_kernel(event)]
    busy = sum(event.self_device_time_total for event in kernels) / _PROFILED_STEPS
    top = sorted(kernels, key=lambda event: -event.self_device_time_total)[:_KERNELS]
    each = [[e.key[:150], e.self_device_time_total / _PROFILED_STEPS, e.count / _PROFILED_STEPS] for e in top]
    launched = sum(event.count for event in kernels) / _PROFILED_STEPS
    return {"step_s": seconds, "host_s": min(hosts), "card_us": busy, "kernels": launched, "kernel_us_count": each}


def _is_kernel(event: Any) -> bool:
    """Operations of the host and the ranges that an optimizer marks have the time of their kernels once more."""
    return "CPU" not in str(event.device_type) and not event.key.startswith(("Optimizer.", "ProfilerStep"))


def _settle() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
