"""Turns our training options into the arguments of sentence-transformers' trainer, as this machine resolves them.

inputs: TrainingOptions, the number of pairs, the processes that train together
outputs: the options without `auto` and `epochs`; SentenceTransformerTrainingArguments
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.encoders.kernels import computes_bf16
from polybatch.training import workers
from polybatch.training.options import TrainingOptions
from polybatch.training.processes import Ranks

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformerTrainingArguments


def on_this_machine(options: TrainingOptions) -> TrainingOptions:
    """The options with a precision and workers in place of `auto`, without buckets by `auto` where they do not pay.

    Raises:
        ConfigError: The card has no bf16.
    """
    import torch

    card = torch.cuda.is_available()
    able = card and torch.cuda.is_bf16_supported(including_emulation=False)
    if options.precision == "bf16" and card and not able:
        raise ConfigError(
            "This card cannot compute in bf16.",
            where="training.precision",
            expected="auto or fp32, or a card of NVIDIA's Ampere generation (2020) or later",
            found=f"bf16 on {torch.cuda.get_device_name()}",
        )
    if options.precision == "auto":
        able = able or (not card and not torch.accelerator.is_available() and computes_bf16())
        options = options.changed(precision="bf16" if able else "fp32")
    if options.num_workers == "auto":
        options = options.changed(num_workers=workers.beside_a_card() if card else 0)
    if options.bucket_width == "auto" and (options.mini_batch_size is not None or torch.accelerator.is_available()):
        options = options.changed(bucket_width=None)
    return options


def attend_in(options: TrainingOptions) -> None:
    """Lets attention with dropout compute in bf16 where the training does.

    It matters for what `encoders.dropout` leaves to PyTorch (grouped heads, T5). On a CPU torch has no fused kernel for
    it, and by default its own one turns bf16 into fp32 and back. Without that a step of 128 texts of 100 tokens with
    PyTorch's dropout (multilingual-e5-small, one core of an AMD EPYC) takes 8.6 s instead of 10.4, with 5.9 GB instead
    of 7.3 in memory. The cosine of a batch's gradients with those of fp32 is .99955, and .99976 without.
    """
    import torch

    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(options.precision == "bf16")


def resolved(options: TrainingOptions, num_pairs: int) -> TrainingOptions:
    """The options with `max_steps` in place of `epochs`, and a precision."""
    steps = options.num_steps(num_pairs)
    if steps < options.eval_steps:
        raise ConfigError(
            "The training ends before its first validation, so that no checkpoint could be chosen.",
            expected=f"eval_steps of at most {steps}, the number of steps",
            found=str(options.eval_steps),
            remedy="lower eval_steps, or train longer",
        )
    return on_this_machine(options).changed(max_steps=steps, epochs=None)


def training_arguments(
    options: TrainingOptions, seed: int, folder: Path, ranks: Ranks | None = None
) -> SentenceTransformerTrainingArguments:
    """The library's arguments for our options; nothing is reported anywhere but to the log."""
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    ranks = ranks or Ranks.of_environment()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.scheduler,
        warmup_steps=options.warmup if options.warmup < 1 else int(options.warmup),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        bf16=options.precision == "bf16",
        use_cpu=not torch.accelerator.is_available(),
        activation_checkpointing=options.gradient_checkpointing,
        dataloader_pin_memory=torch.accelerator.is_available(),
        dataloader_num_workers=0 if options.num_workers == "auto" else options.num_workers,
        dataloader_drop_last=ranks.several,  # of no effect on our loaders; silences a warning
        eval_strategy="steps",
        eval_steps=options.eval_steps,
        save_strategy="steps",
        save_steps=options.save_steps,
        save_total_limit=2,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=min(500, options.max_steps),
        logging_nan_inf_filter=False,
        restore_callback_states_from_checkpoint=True,
        report_to="none",
        disable_tqdm=not sys.stderr.isatty() or not ranks.first,
        seed=seed,
    )
    if not ranks.several and arguments.n_gpu > 1:
        stage.log.info(
            "%d cards are visible, one is used; polybatch.cluster.launch --gpu N --distributed uses more",
            arguments.n_gpu,
        )
        arguments._n_gpu = 1  # the library would have one process feed all cards, with as many batches a step
    return arguments
