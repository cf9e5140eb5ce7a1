"""Fine-tunes an encoder into a retriever with one of the batch samplings.

inputs: an encoder (folder or hub id), parallel/<lang>.parquet of every training language, validation.parquet
outputs: models/<run>/, a sentence-transformers folder with its model card, training.json (what was trained, on
what, how it went) and composition.json (what the batches held); checkpoints while it runs

Loss, score and early stopping follow Elmahdy et al. (arXiv 2408.10536, section 4): cosine similarity, InfoNCE
over in-batch negatives, and the checkpoint with the lowest loss on English validation pairs. A killed training
continues from its last checkpoint and, on a CPU, ends with the same weights bit by bit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import __version__, card, checkpoints, contracts, stage
from polybatch.errors import ConfigError, DataError, TrainingError
from polybatch.files import atomic_path, read_parquet, write_json
from polybatch.pairs import PairTable, parse_paths, read_pairs
from polybatch.sampling import BatchSampler, Sampling, composition
from polybatch.training_options import TrainingOptions

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments


def train(
    model: SentenceTransformer,
    table: PairTable,
    validation: Dataset,
    sampling: Sampling,
    options: TrainingOptions,
    *,
    seed: int,
    folder: Path,
    fingerprint: dict[str, Any],
) -> dict[str, Any]:
    """Trains `model` in place and leaves it, in the main process, with its best weights by validation loss.

    Args:
        model: The encoder, trained in place.
        table: Training pairs.
        validation: English columns `query` and `passage`.
        sampling, options, seed: How.
        folder: Checkpoints are written here and, if the fingerprint matches, resumed from.
        fingerprint: What the result depends on, as JSON values.

    Returns:
        `steps`, `best_step`, `validation_loss`, `validation_losses` (step -> loss) and `composition`.

    Raises:
        TrainingError: Too few pairs for a batch, or the loss diverged.
    """
    args = training_arguments(options, seed, folder)
    sampler = BatchSampler(
        table,
        sampling,
        batch_size=options.batch_size,
        num_steps=options.max_steps,
        seed=seed,
        rank=args.process_index,
        world_size=args.world_size,
    )
    with args.main_process_first(local=False, desc="looking for checkpoints"):
        checkpoint = checkpoints.prepare(folder, fingerprint)
    state = checkpoints.state_of(checkpoint) if checkpoint else None
    if state is None or not checkpoints.is_finished(state):
        state = _run(model, validation, sampler, options, args=args, checkpoint=checkpoint)
    if args.process_index == 0:
        _load_weights(model, folder / f"checkpoint-{state['best_global_step']}")
    return {
        "steps": state["global_step"],
        "best_step": state["best_global_step"],
        "validation_loss": state["best_metric"],
        "validation_losses": {
            str(line["step"]): line["eval_loss"] for line in state["log_history"] if "eval_loss" in line
        },
        "composition": composition(sampler, state["global_step"]),
    }


def _run(
    model: SentenceTransformer,
    validation: Dataset,
    sampler: BatchSampler,
    options: TrainingOptions,
    *,
    args: SentenceTransformerTrainingArguments,
    checkpoint: Path | None,
) -> dict[str, Any]:
    from polybatch.trainer import HybridTrainer, callbacks

    if checkpoint:
        stage.log.info("resuming from %s", checkpoint)
    args.prompts = {column: model.prompts[column] or "" for column in ("query", "passage")}
    trainer = HybridTrainer(
        sampler=sampler,
        model=model,
        args=args,
        eval_dataset=validation,
        loss=_loss(model, options, gather=args.world_size > 1),
        callbacks=list(callbacks(options.batch_size, options.patience)),
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return asdict(trainer.state)


def training_arguments(options: TrainingOptions, seed: int, folder: Path) -> SentenceTransformerTrainingArguments:
    """The library's arguments for our options; nothing is reported anywhere but to the log."""
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
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
        dataloader_num_workers=options.num_workers,
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
        disable_tqdm=not sys.stderr.isatty(),
        seed=seed,
    )


def _loss(model: SentenceTransformer, options: TrainingOptions, *, gather: bool) -> Any:
    from sentence_transformers.sentence_transformer import losses

    from polybatch.trainer import LengthBuckets

    scale = 1.0 / options.temperature
    if options.mini_batch_size is not None:
        return losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=options.mini_batch_size, gather_across_devices=gather
        )
    embedder: Any = model if options.bucket_width is None else LengthBuckets(model, options.bucket_width)
    return losses.MultipleNegativesRankingLoss(embedder, scale=scale, gather_across_devices=gather)


def _load_weights(model: SentenceTransformer, checkpoint: Path) -> None:
    import torch

    best = load_encoder(str(checkpoint))
    model.load_state_dict(best.state_dict())
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise TrainingError("The trained weights are not all numbers.", where=checkpoint, remedy="lower learning_rate")


def load_encoder(name: str) -> SentenceTransformer:
    """Loads a sentence-transformers folder, or a model of the hub, without running code from it.

    Raises:
        TrainingError: There is no such model, or it cannot be read.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        return SentenceTransformer(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(
            "The encoder cannot be loaded.",
            where=name,
            expected="a sentence-transformers folder, or the id of a hub model with safetensors weights",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="make the folder with polybatch.encoder; for a hub model check its id, the network, or HF_HOME",
        ) from error


def set_up(model: SentenceTransformer, options: TrainingOptions) -> None:
    """Gives the encoder its prompts, under the names `query` and `passage`, and its longest text."""
    own = model.prompts
    query, passage = own.get("query") or "", own.get("passage") or own.get("document") or ""
    query = query if options.query_prompt is None else options.query_prompt
    passage = passage if options.passage_prompt is None else options.passage_prompt
    model.prompts = {"query": query, "passage": passage, "document": passage}
    if options.max_length is None:
        return
    if model.max_seq_length is not None and options.max_length > model.max_seq_length:
        raise ConfigError(
            "max_length is longer than the encoder can read.",
            expected=f"at most {model.max_seq_length} tokens",
            found=str(options.max_length),
        )
    model.max_seq_length = options.max_length


def read_validation(path: Path) -> Dataset:
    """The validation pairs as the trainer wants them: columns `query` and `passage`."""
    from datasets import Dataset

    table = read_parquet(path, contracts.PARALLEL)
    if table.num_rows < 2:
        raise DataError(
            "There are too few validation pairs for a loss.",
            where=path,
            expected="at least 2 rows",
            found=str(table.num_rows),
        )
    return Dataset.from_dict({side: table[side].to_pylist() for side in ("query", "passage")})


def fingerprint_of(args: argparse.Namespace, model: SentenceTransformer) -> dict[str, Any]:
    """Everything the trained weights depend on."""
    import sentence_transformers
    import torch
    import transformers

    encoder = Path(args.encoder)
    revision = getattr(getattr(model[0], "config", None), "_commit_hash", None)
    return {
        "encoder": checkpoints.fingerprint_of(encoder) if encoder.is_dir() else [args.encoder, revision],
        "parallel": {lang: checkpoints.fingerprint_of(path) for lang, path in args.parallel.items()},
        "validation": checkpoints.fingerprint_of(args.validation),
        "sampling": [args.sampling.name, args.sampling.alpha],
        "num_pairs": args.num_pairs,
        "seed": args.seed,
        "options": args.options.as_dict(),
        "versions": {
            "polybatch": __version__,
            "sentence_transformers": sentence_transformers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _save(model: SentenceTransformer, record: dict[str, Any], output: Path) -> None:
    with atomic_path(output) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        write_json(partial / "composition.json", record.pop("composition"))
        write_json(partial / "training.json", record)
        (partial / "README.md").write_text(card.render(record), "utf-8")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="polybatch.train", description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", required=True, help="folder or hub id")
    parser.add_argument("--parallel", required=True, nargs="+", metavar="LANG=PATH")
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--sampling", required=True, help=", ".join(contracts.SAMPLINGS))
    parser.add_argument("--alpha", type=float, help="share of monolingual batches, for hybrid")
    parser.add_argument("--num-pairs", default="all", help="all, or how many training pairs to use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="{}", help="TrainingOptions, as JSON")
    parser.add_argument("--license", default="", help="of the training data, for the model card")
    parser.add_argument("--checkpoints", required=True, type=Path)
    parser.add_argument("--keep-checkpoints", action="store_true", help="also after the model is saved")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    args.parallel = parse_paths(args.parallel)
    args.sampling = Sampling(args.sampling, args.alpha if args.sampling == "hybrid" else None)
    args.options = TrainingOptions.from_json(args.options)
    if args.seed < 0:
        raise ConfigError("The seed is negative.", expected="0 or more", found=str(args.seed))
    if args.num_pairs != "all" and not args.num_pairs.isdecimal():
        raise ConfigError("num_pairs is no number.", expected="all, or a whole number", found=args.num_pairs)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    table = read_pairs(args.parallel, None if args.num_pairs == "all" else int(args.num_pairs))
    model = load_encoder(args.encoder)
    set_up(model, args.options)
    validation = read_validation(args.validation)
    result = train(
        model,
        table,
        validation,
        args.sampling,
        args.options,
        seed=args.seed,
        folder=args.checkpoints,
        fingerprint=fingerprint_of(args, model),
    )
    if int(os.environ.get("RANK", "0")):
        return
    record = {
        "encoder": args.encoder,
        "sampling": args.sampling.name,
        "alpha": args.sampling.alpha,
        "num_pairs": args.num_pairs,
        "languages": list(table.languages),
        "seed": args.seed,
        "options": args.options.as_dict(),
        "pairs": len(table),
        "pairs_per_language": table.counts(),
        "validation_pairs": len(validation),
        "license": args.license,
        **result,
    }
    _save(model, record, args.output)
    if not args.keep_checkpoints:
        shutil.rmtree(args.checkpoints)
    stage.log.info("trained %s: best step %d of %d", args.output, record["best_step"], record["steps"])


if __name__ == "__main__":
    stage.run(main)
