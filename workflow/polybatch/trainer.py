"""The library's trainer with our batches, and what watches it: faults, progress, checkpoints worth keeping.

inputs: a sentence-transformers model, a `pairs.PairTable`, a `sampling.BatchSampler`
outputs: checkpoints, in the layout of the library

Only where batches come from is ours; loss, optimiser, schedule, evaluation, mixed precision, distribution and
resuming are those of sentence-transformers and transformers.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from polybatch.errors import TrainingError
from polybatch.pairs import PairTable
from polybatch.sampling import BatchSampler
from polybatch.stage import log

_LINE_EVERY_S = 10.0


class TrainingPairs(Dataset):
    """Maps (row, query_lang, passage_lang) to the two texts."""

    def __init__(self, table: PairTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: tuple[int, int, int]) -> dict[str, str]:
        row, query_lang, passage_lang = index
        return {
            "query": self.table.query(row, query_lang),
            "passage": self.table.passage(row, passage_lang),
        }


class HybridTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose training batches come from a `BatchSampler`.

    The loader is not handed to accelerate for sharding: each process's sampler already yields its own part.
    """

    def __init__(self, *, sampler: BatchSampler, **kwargs: Any) -> None:
        self._sampler = sampler
        super().__init__(**kwargs)
        self.remove_callback(PrinterCallback)
        if not sys.stderr.isatty():
            self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            TrainingPairs(self._sampler.table),
            batch_sampler=self._sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """The model's card is written by the stage: the library's would describe neither data nor sampling."""


class LengthBuckets(nn.Module):
    """Embeds a batch in one forward pass for each range of text lengths, so that less padding is computed.

    The embeddings are those of one pass up to rounding. Worth it where arithmetic is dear, on a CPU; a GPU is
    better fed with one large pass.

    Args:
        model: A sentence-transformers model.
        width: Texts of 1 to `width` tokens share a pass, those of up to twice that another, and so on.
    """

    def __init__(self, model: nn.Module, width: int) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        lengths = features["attention_mask"].sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        _, sizes = torch.unique_consecutive((lengths[order] - 1) // self.width, return_counts=True)
        embeddings = [
            self.model(_rows_of(features, rows))["sentence_embedding"] for rows in order.split(sizes.tolist())
        ]
        return {**features, "sentence_embedding": torch.cat(embeddings)[torch.argsort(order)]}


def _rows_of(features: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Some rows of the tokenised texts, without the columns at their end that are padding in all of them."""
    used = features["attention_mask"][rows].any(dim=0).nonzero()
    width = int(used[-1]) + 1
    shape = features["attention_mask"].shape
    return {
        name: value[rows, :width] if isinstance(value, torch.Tensor) and value.shape == shape else value
        for name, value in features.items()
    }


class StopOnDivergence(TrainerCallback):
    """Raises TrainingError when a loss is no longer a number, before any such state can reach a checkpoint."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The trainer logs before it evaluates and saves, so that on_log sees every step's loss in time.
        control.should_log |= control.should_save or control.should_evaluate

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        for name in ("loss", "grad_norm", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingError(
                    f"The training diverged: {name} is {logs[name]} at step {state.global_step}.",
                    expected="a finite loss",
                    found=str(logs[name]),
                    remedy="lower learning_rate, raise temperature or warmup, or train in fp32",
                )


class SaveBest(TrainerCallback):
    """Asks for a checkpoint whenever the validation loss is the lowest so far."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = state.best_metric
        control.should_save |= best is None or kwargs["metrics"]["eval_loss"] < best


class LogProgress(TrainerCallback):
    """A line every ten seconds: step, loss, speed, time left. A terminal gets the library's bar instead."""

    def __init__(self, rows_per_step: int) -> None:
        self.rows_per_step = rows_per_step
        self._start = self._last = 0.0
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = self._last = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_log |= time.monotonic() - self._last >= _LINE_EVERY_S

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            log.info("step %d/%d: validation loss %.4f", state.global_step, state.max_steps, logs["eval_loss"])
        now = time.monotonic()
        if "loss" not in logs or now - self._last < _LINE_EVERY_S:
            return
        self._last = now
        speed = (state.global_step - self._first_step) / max(now - self._start, 1e-9)
        log.info(
            "step %d/%d: loss %.4f, %.1f steps/s (%.0f pairs/s), %.0f s left at most",
            state.global_step,
            state.max_steps,
            logs["loss"],
            speed,
            speed * self.rows_per_step,
            (state.max_steps - state.global_step) / max(speed, 1e-9),
        )


class EarlyStopping(EarlyStoppingCallback):
    """The library's, without its warning: the stage reloads the best checkpoint itself, and fails if it cannot."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        pass


def callbacks(rows_per_step: int, patience: int) -> Sequence[TrainerCallback]:
    """What watches a training; `patience` evaluations without a better loss end it, 0 never does."""
    watching: list[TrainerCallback] = [StopOnDivergence(), SaveBest(), LogProgress(rows_per_step)]
    if patience:
        watching.append(EarlyStopping(early_stopping_patience=patience))
    return watching
