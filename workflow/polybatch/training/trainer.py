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
from collections.abc import Callable, Mapping, Sequence
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
from polybatch.pairs.table import ENGLISH, PairTable
from polybatch.training.batch import Example
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.objectives.loss import ObjectiveLoss
from polybatch.training.objectives.objective import Objective, english_column, second_column, teacher_column
from polybatch.training.objectives.teacher import Collator, Teacher
from polybatch.training.preemption import AgreeAtStepEnd
from polybatch.training.processes import Ranks
from polybatch.training.schedule import NextStage, schedule
from polybatch.training.stages import Stage, first_step_of_last
from polybatch.training.workers import set_up_worker

_COMPOSITION_EVERY_S = 60.0


class TrainingPairs(Dataset):
    """Maps an `Example` of the sampler to its texts: query, passage, negative_1, negative_2..., an objective's columns.

    Args:
        table: The training pairs.
        objective: Whose columns the rows have besides; the second languages in an `Example` are those of its sides.
    """

    def __init__(self, table: PairTable, objective: Objective) -> None:
        self.table, self._objective = table, objective
        self._english = table.languages.index(ENGLISH)

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
        return texts | self._further(example, texts)

    def _further(self, example: Example, own: dict[str, str]) -> dict[str, str]:
        """The columns of the objective. A pair's own text stands for its second one where it has one language."""
        read = {"query": self.table.query, "passage": self.table.passage}
        first = {"query": example.query_lang, "passage": example.passage_lang}
        texts = {}
        for side, lang in zip(self._objective.second, example.second_langs, strict=True):
            texts[second_column(side)] = own[side] if lang == first[side] else read[side](example.row, lang)
        for column, sides in ((english_column, self._objective.english), (teacher_column, self._objective.taught)):
            texts |= {column(side): read[side](example.row, self._english) for side in sides}
        return texts


def negative_column(k: int) -> str:
    """The name of the column of hard negative k, from 0."""
    return f"negative_{k + 1}"


class HybridTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose training batches come from a `BatchSampler`.

    The loaders are not handed to accelerate for sharding: they already yield a process's own share.

    Args:
        sampler: Of the training batches.
        validation: English columns `query` and `passage`.
        objective: What the loss computes; its columns and its stages.
        loss: A torch module (`objectives.choice.loss_of`).
        teacher: Tokenises its own columns, where the objective has one.
        ranks: The processes that train together.
        kwargs: The library's.
    """

    def __init__(
        self,
        *,
        sampler: BatchSampler,
        validation: Any,
        objective: Objective,
        loss: nn.Module,
        ranks: Ranks,
        teacher: Teacher | None = None,
        **kwargs: Any,
    ) -> None:
        self._sampler, self._validation, self._ranks = sampler, validation, ranks
        self._objective, self._stages = objective, objective.stages(kwargs["args"].max_steps)
        self._gathering = [module for module in loss.modules() if hasattr(module, "gather_across_devices")]
        super().__init__(loss=loss, eval_dataset=validation, **kwargs)
        if teacher:
            self.data_collator = cast(Any, Collator(self.data_collator, teacher))
        if not ranks.first:
            # The same dropout in every process would be less of it; the first one draws as a process alone does.
            torch.manual_seed(ranks.seed(self.args.seed))
        self.remove_callback(PrinterCallback)
        if not sys.stderr.isatty():
            self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            TrainingPairs(self._sampler.table, self._objective),
            batch_sampler=self._sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            worker_init_fn=set_up_worker,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        self.state.num_input_tokens_seen += self._ranks.world_size * _tokens(inputs)
        if isinstance(self.loss, ObjectiveLoss):
            self.loss.step = self.state.global_step
        return super().training_step(model, inputs, *args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if len(self._stages) == 1:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            self.lr_scheduler = schedule(self._stages, self._objective.options, cast(Any, optimizer or self.optimizer))
        return self.lr_scheduler

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        if self.state.global_step <= first_step_of_last(self._stages):
            return False
        return super()._determine_best_metric(metrics, trial)

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


def _tokens(inputs: Mapping[str, Any]) -> int:
    """Tokens of a batch that is still on the CPU, padding left out."""
    masks = sum(int(mask.sum()) for name, mask in inputs.items() if name.endswith("_attention_mask"))
    return masks + sum(int(bounds[-1]) for name, bounds in inputs.items() if name.endswith("_cu_seq_lens_q"))


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
    """Asks for a checkpoint whenever the validation loss is the lowest so far in the last stage."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._from = first_step_of_last(stages)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step <= self._from:
            return
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
    sampler: BatchSampler, patience: int, stages: Sequence[Stage], ranks: Ranks, asked_to_stop: Callable[[], bool]
) -> Sequence[TrainerCallback]:
    """The callbacks that watch a training; `patience` evaluations without a better loss end it, 0 never does."""
    progress = LogProgress(sampler)
    agree = AgreeAtStepEnd(ranks, asked_to_stop, lambda: ranks.first and progress.due())
    watching: list[TrainerCallback] = [
        agree,
        NextStage(stages),
        StopOnDivergence(),
        SaveBest(stages),
        progress,
        Stopwatch(),
    ]
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
