"""The library's trainer with our batches, and what watches it: faults, progress, checkpoints worth keeping.

inputs: a sentence-transformers model, a `pairs.table.PairTable`, a `batch_sampler.BatchSampler`
outputs: checkpoints (`checkpoints`)

Only where batches come from, how they are shared out, and how weights are kept is ours; loss, optimiser, schedule,
mixed precision, the sums of gradients and resuming are those of sentence-transformers and transformers.

With several processes a batch stays what it is: each process embeds its share of the rows, and passages are gathered
from all of them as candidates. Each process's loss is the mean over its own queries; the gradients that flow back into
gathered embeddings are summed over the processes and the gradients of the weights averaged, which together is the
gradient of the mean over the whole batch. Validation is shared out in the same way.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformerTrainer
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import ExportableState, PrinterCallback, ProgressCallback
from transformers.trainer_utils import EvalLoopOutput

from polybatch.core import checkpoints
from polybatch.core.errors import TrainingError
from polybatch.core.stage import Pace, log
from polybatch.pairs.table import PairTable
from polybatch.training.batch import Example
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.preemption import AgreeAtStepEnd, ignore_in_worker
from polybatch.training.processes import Ranks

_COMPOSITION_EVERY_S = 60.0
# Tokens whose forward and backward pass take as long as what a pass costs however little it holds (the calls from
# Python, a gradient of the whole vocabulary): measured between 30 and 150 on a CPU, and flat around its best.
_PASS_COST = 100


class TrainingPairs(Dataset):
    """Maps an `Example` of the sampler to its texts: query, passage, negative_1, negative_2..."""

    def __init__(self, table: PairTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, example: Example) -> dict[str, str]:
        table, lang = self.table, example.passage_lang
        texts = {
            "query": table.query(example.row, example.query_lang, paraphrase=example.query_paraphrased),
            "passage": table.passage(example.row, lang, paraphrase=example.passage_paraphrased),
        }
        for k, (row, place) in enumerate(example.negatives):
            text = table.passage(row, lang) if place < 0 else table.negative(row, lang, place)
            texts[negative_column(k)] = text
        return texts


def negative_column(k: int) -> str:
    """The name of the column of hard negative k, from 0."""
    return f"negative_{k + 1}"


class HybridTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose training batches come from a `BatchSampler`.

    The loaders are not handed to accelerate for sharding: they already yield a process's own share.
    """

    def __init__(self, *, sampler: BatchSampler, validation: Any, loss: nn.Module, ranks: Ranks, **kwargs: Any) -> None:
        self._sampler, self._validation, self._ranks = sampler, validation, ranks
        self._gathering = [module for module in loss.modules() if hasattr(module, "gather_across_devices")]
        super().__init__(loss=loss, eval_dataset=validation, **kwargs)
        if not ranks.first:
            # The same dropout in every process would be less of it; the first one draws as a process alone does.
            torch.manual_seed(ranks.seed(self.args.seed))
        self.remove_callback(PrinterCallback)
        if not sys.stderr.isatty():
            self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            TrainingPairs(self._sampler.table),
            batch_sampler=self._sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            worker_init_fn=ignore_in_worker,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        masks = (value for name, value in inputs.items() if name.endswith("_attention_mask"))
        self.state.num_input_tokens_seen += self._ranks.world_size * sum(int(mask.sum()) for mask in masks)
        return super().training_step(model, inputs, *args, **kwargs)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        return DataLoader(
            self._validation,
            batch_sampler=[part.rows for part in self._validation_parts()],
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _validation_parts(self) -> list[ValidationPart]:
        return validation_parts(len(self._validation), self._sampler.batch_size, self.args.seed, self._ranks)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The mean loss over the validation pairs in batches as large as those of the training; see the module."""
        self.model.eval()
        total = rows = 0.0
        for part, inputs in zip(self._validation_parts(), dataloader, strict=True):
            self._gather(part.shared)
            loss, _, _ = self.prediction_step(self.model, inputs, prediction_loss_only=True)
            total += part.size * cast(torch.Tensor, loss).item()
            rows += part.size
        self._gather(self._ranks.several)
        metrics = {f"{metric_key_prefix}_loss": self._ranks.mean(total) / rows}
        return EvalLoopOutput(predictions=np.empty(0), label_ids=None, metrics=metrics, num_samples=int(rows))

    def _gather(self, wanted: bool) -> None:
        for loss in self._gathering:
            loss.gather_across_devices = wanted  # type: ignore[assignment]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            checkpoints.seal(checkpoints.of_step(Path(str(self.args.output_dir)), self.state.global_step))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The checksums, written last by the first process, say that the checkpoint is whole.
        self._ranks.wait()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None or checkpoints.num_ranks(Path(checkpoint)) == self._ranks.world_size:
            super()._load_rng_state(checkpoint)
            return
        log.info(
            "the checkpoint was saved by %d process(es), now there are %d: batches and weights stay, dropout is drawn "
            "anew",
            checkpoints.num_ranks(Path(checkpoint)),
            self._ranks.world_size,
        )
        torch.manual_seed(self._ranks.seed(self.args.seed, self.state.global_step))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        checkpoints.save_weights(self.model, Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, checkpoint_path: str, model: Any = None) -> None:
        checkpoints.load_weights(self.model, Path(checkpoint_path))

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """The model's card is written by the stage: the library's would describe neither data nor sampling."""


class ValidationPart(NamedTuple):
    """What one process embeds of a batch of validation pairs.

    Attributes:
        rows: Of the validation pairs.
        shared: Whether other processes embed the rest; otherwise each embeds the whole batch.
        size: Pairs of the whole batch.
    """

    rows: list[int]
    shared: bool
    size: int


def validation_parts(num_rows: int, batch_size: int, seed: int, ranks: Ranks) -> list[ValidationPart]:
    """How validation pairs are divided into batches, which depends on the seed alone, and those among processes.

    A last batch that does not divide is embedded by every process: each of its losses is over the same negatives.
    """
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = []
    for start in range(0, num_rows, batch_size):
        batch = order[start : start + batch_size]
        shared = ranks.several and len(batch) % ranks.world_size == 0
        parts.append(ValidationPart(batch[ranks.share(len(batch))] if shared else batch, shared, len(batch)))
    return parts


class LengthBuckets(nn.Module):
    """Embeds a batch in several forward passes, each of texts of like length, so that less padding is computed.

    The embeddings are those of one pass up to rounding. Worth it where arithmetic is dear, on a CPU; a GPU is
    better fed with one large pass.

    Args:
        model: A sentence-transformers model.
        width: Texts of 1 to `width` tokens share a pass, those of up to twice that another, and so on; None cuts the
            batch where it costs least (`pass_sizes`).
    """

    def __init__(self, model: nn.Module, width: int | None) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        if "attention_mask" not in features:  # a model of word vectors, which knows no padding
            return self.model(features)
        lengths = features["attention_mask"].sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        embeddings = [
            self.model(_rows_of(features, rows))["sentence_embedding"]
            for rows in order.split(self._sizes(lengths[order]))
        ]
        return {**features, "sentence_embedding": torch.cat(embeddings)[torch.argsort(order)]}

    def _sizes(self, ascending: torch.Tensor) -> list[int]:
        """How many texts each pass takes, the shortest texts first."""
        if self.width is None:
            return pass_sizes(ascending.cpu().numpy())
        return torch.unique_consecutive((ascending - 1) // self.width, return_counts=True)[1].tolist()


def pass_sizes(lengths: np.ndarray, pass_cost: int = _PASS_COST) -> list[int]:
    """Cuts texts, sorted by length, into the forward passes that cost least in all.

    A pass costs its number of texts times the length of its longest, padding included, and `pass_cost`, what starting
    a pass takes, in tokens. The best cuts are found exactly, by the best ones of every shorter beginning.

    Args:
        lengths: (n,) in tokens, ascending.
        pass_cost: In tokens.

    Returns:
        Texts a pass, the shortest first; their sum is n.
    """
    longest, counts = np.unique(lengths, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(upto))
    last = np.zeros(len(upto), dtype=np.int64)  # where the last pass of the best cuts begins
    for end in range(1, len(upto)):
        costs = best[:end] + longest[end - 1] * (upto[end] - upto[:end])
        last[end] = np.argmin(costs)
        best[end] = costs[last[end]] + pass_cost
    cuts = [len(upto) - 1]
    while cuts[-1]:
        cuts.append(int(last[cuts[-1]]))
    return np.diff(upto[cuts[::-1]]).tolist()


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
    """A line every ten seconds: step, loss, speed, time left. A terminal gets the library's bar instead.

    And one every minute, and at the end, that says what the batches held so far.
    """

    def __init__(self, sampler: BatchSampler) -> None:
        self.sampler = sampler
        self._pace = Pace("training", None, "steps")
        self._told = 0.0

    def due(self) -> bool:
        """Whether it is time for a line."""
        return self._pace.is_due()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._pace = Pace("training", state.max_steps, "steps", done=state.global_step)
        self._told = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            log.info("step %d/%d: validation loss %.4f", state.global_step, state.max_steps, logs["eval_loss"])
        if "loss" not in logs or not self.due():
            return
        self._pace.done = state.global_step
        pairs = self._pace.rate() * self.sampler.batch_size
        log.info("%s; loss %.4f, %.0f pairs/s", self._pace.line(), logs["loss"], pairs)
        now = time.monotonic()
        if now - self._told >= _COMPOSITION_EVERY_S:
            self._told = now
            log.info("%s", self.sampler.drawn.line())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            log.info("%s", self.sampler.drawn.line())


class Stopwatch(TrainerCallback, ExportableState):
    """Counts the seconds of a training, validation and checkpoints included, over all the processes it took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._since = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.stateful_callbacks[type(self).__name__] = self.state()

    def state(self) -> dict[str, Any]:
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        return {"args": {}, "attributes": {"seconds": self.seconds}}


class EarlyStopping(EarlyStoppingCallback):
    """The library's, without its warning: the stage reloads the best checkpoint itself, and fails if it cannot."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        pass


def callbacks(
    sampler: BatchSampler, patience: int, ranks: Ranks, asked_to_stop: Callable[[], bool]
) -> Sequence[TrainerCallback]:
    """The callbacks that watch a training; `patience` evaluations without a better loss end it, 0 never does."""
    progress = LogProgress(sampler)
    agree = AgreeAtStepEnd(ranks, asked_to_stop, lambda: ranks.first and progress.due())
    watching: list[TrainerCallback] = [agree, StopOnDivergence(), SaveBest(), progress, Stopwatch()]
    if patience:
        watching.append(EarlyStopping(early_stopping_patience=patience))
    return watching


def speed_of(state: dict[str, Any], batch_size: int, world_size: int) -> dict[str, Any]:
    """How long a training took, from the trainer's state, for planning further ones.

    Returns:
        `seconds`, validation and checkpoints included; `pairs_per_second`; `tokens_per_second`, padding left out, with
        several processes reckoned from the first one's share; `device`, `world_size`; `threads` of a process on CPUs.
    """
    seconds = state["stateful_callbacks"]["Stopwatch"]["attributes"]["seconds"]
    return {
        "seconds": round(seconds, 3),
        "pairs_per_second": round(state["global_step"] * batch_size / max(seconds, 1e-9), 1),
        "tokens_per_second": round(state["num_input_tokens_seen"] / max(seconds, 1e-9), 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "world_size": world_size,
        "threads": torch.get_num_threads(),
    }
