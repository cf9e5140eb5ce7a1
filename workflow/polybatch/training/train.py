"""Fine-tunes an encoder into a retriever with one of the batch samplings.

inputs: an encoder (folder or hub id), parallel/<lang>.parquet of every training language, validation.parquet;
optionally parallel/paraphrase.parquet
outputs: models/<run>/, a sentence-transformers folder with its model card, training.json (what was trained, on
what, how it went), composition.json (what the batches held) and batches.parquet (a row for each step);
checkpoints and the texts (`pairs.text_store`) while it runs

Loss, score and early stopping follow Elmahdy et al. (arXiv 2408.10536, section 4): cosine similarity, InfoNCE
over in-batch negatives, and the checkpoint with the lowest loss on English validation pairs. A killed training
continues from its last checkpoint and, on a CPU, ends with the same weights bit by bit. Several processes (torch's
launcher; `polybatch.cluster.launch --gpu N --distributed`) share every batch and train what one would, up to rounding.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import __version__
from polybatch.core import checkpoints, made_from, stage
from polybatch.core.device import tell_torch_device
from polybatch.core.files import atomic_path, read_json, write_json, write_parquet
from polybatch.core.sums import write_sums
from polybatch.encoders.kernels import keep_few_shapes
from polybatch.encoders.load import RECORD, carry_record
from polybatch.pairs.table import PairTable, read_pairs
from polybatch.training import model_card
from polybatch.training.arguments import on_this_machine, resolved, training_arguments
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.command_line import number_of, parse
from polybatch.training.composition import batch_schema, composition
from polybatch.training.inputs import load_encoder, read_validation, set_up
from polybatch.training.objectives.infonce import loss_of
from polybatch.training.options import TrainingOptions
from polybatch.training.processes import Ranks, told_once
from polybatch.training.sampling import Sampling, Shares

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
    source_weights: Mapping[str, float] | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Trains `model` in place and leaves it, in the first process, with its best weights by validation loss.

    Args:
        model: The encoder, trained in place.
        table: Training pairs.
        validation: English columns `query` and `passage`.
        sampling, options, seed: How.
        folder: Checkpoints are written here and, if the fingerprint matches, resumed from.
        fingerprint: What the result depends on, as JSON values; only the first process's counts.
        source_weights: Source -> what stands for its number of pairs where batches choose a source.
        ranks: The processes that train together; None asks the environment.

    Returns:
        In the first process: `steps`, `best_step`, `validation_loss`, `validation_losses` (step -> loss),
        `composition` and `batches` (see `composition.composition`), and `speed` (see `trainer.speed_of`). Nothing in
        the others.

    Raises:
        ConfigError: Options that do not fit the encoder or the data.
        TrainingError: Too few pairs for a batch, or the loss diverged.
        TrainingStoppedError: SIGTERM came; the last step is saved.
    """
    from polybatch.encoders import layers
    from polybatch.training import lora, memory

    ranks = ranks or Ranks.of_environment()
    options = resolved(options, len(table))
    args = training_arguments(options, seed, folder, ranks)
    sampler = _sampler(table, sampling, options, seed=seed, source_weights=source_weights or {}, ranks=ranks)
    if layers.freeze(model, embeddings=options.freeze_embeddings, layers=options.freeze_layers):
        _tell_frozen(model)
    adapters = lora.add_adapters(model, options, seed) if options.lora_r else None
    checkpoint = _found_checkpoint(folder, fingerprint, ranks)
    state = checkpoints.state_of(checkpoint) if checkpoint else None
    if state is None or not checkpoints.is_finished(state):
        if ranks.first:
            memory.check(model, table, options, ranks)
        state = _run(model, validation, sampler, options, args=args, checkpoint=checkpoint, ranks=ranks)
    if not ranks.first:
        return {}
    checkpoints.load_weights(model, folder / f"checkpoint-{state['best_global_step']}")
    if adapters:
        lora.merge(adapters)
    return _result(state, sampler, ranks.world_size)


def _sampler(
    table: PairTable,
    sampling: Sampling,
    options: TrainingOptions,
    *,
    seed: int,
    source_weights: Mapping[str, float],
    ranks: Ranks,
) -> BatchSampler:
    shares = Shares(
        source_weights,
        options.source_temperature,
        options.language_weights,
        options.language_temperature,
        options.drop_small_sources,
    )
    return BatchSampler(
        table,
        sampling,
        batch_size=options.batch_size,
        num_steps=options.max_steps,
        seed=seed,
        shares=shares,
        ranks=ranks,
    )


def _tell_frozen(model: SentenceTransformer) -> None:
    trained, whole = (sum(p.numel() for p in model.parameters() if p.requires_grad or every) for every in (False, True))
    stage.log.info("%d of %d weights are trained, the others stay as they are", trained, whole)


def _found_checkpoint(folder: Path, fingerprint: dict[str, Any], ranks: Ranks) -> Path | None:
    """The checkpoint to continue from, as the first process found it, which alone removes what is of no use."""
    found = checkpoints.prepare(folder, fingerprint) if ranks.first else None
    step = ranks.of_first(checkpoints.step_of(found) if found else -1)
    return None if step < 0 else checkpoints.of_step(folder, step)


def _result(state: dict[str, Any], sampler: BatchSampler, world_size: int) -> dict[str, Any]:
    from polybatch.training.trainer import speed_of

    counts, batches = composition(sampler, state["global_step"])
    return {
        "steps": state["global_step"],
        "best_step": state["best_global_step"],
        "validation_loss": state["best_metric"],
        "validation_losses": {
            str(line["step"]): line["eval_loss"] for line in state["log_history"] if "eval_loss" in line
        },
        "speed": speed_of(state, sampler.batch_size, world_size),
        "composition": counts,
        "batches": batches,
    }


def _run(
    model: SentenceTransformer,
    validation: Dataset,
    sampler: BatchSampler,
    options: TrainingOptions,
    *,
    args: SentenceTransformerTrainingArguments,
    checkpoint: Path | None,
    ranks: Ranks,
) -> dict[str, Any]:
    from polybatch.training import preemption
    from polybatch.training.trainer import HybridTrainer, callbacks, negative_column

    if checkpoint:
        stage.log.info("resuming from %s", checkpoint)
    passages = ["passage", *(negative_column(k) for k in range(options.hard_negatives))]
    args.prompts = {"query": model.prompts["query"] or "", **dict.fromkeys(passages, model.prompts["passage"] or "")}
    with preemption.noticing() as asked_to_stop:
        watching = callbacks(sampler, options.patience, ranks, asked_to_stop)
        trainer = HybridTrainer(
            sampler=sampler,
            ranks=ranks,
            model=model,
            args=args,
            validation=validation,
            loss=loss_of(model, options, gather=ranks.several),
            callbacks=list(watching),
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        ranks.wait()
    if any(getattr(callback, "interrupted", False) for callback in watching):
        raise preemption.stopped(trainer.state.global_step, options.max_steps)
    return asdict(trainer.state)


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
        "paraphrases": checkpoints.fingerprint_of(args.paraphrases) if args.paraphrases else None,
        "sampling": [args.sampling.name, args.sampling.label],
        "source_weights": args.source_weights,
        "num_pairs": args.num_pairs,
        "num_translated": args.num_translated,
        "seed": args.seed,
        "threads": torch.get_num_threads(),
        "options": args.options.as_dict(),
        "versions": {
            "polybatch": __version__,
            "sentence_transformers": sentence_transformers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _save(model: SentenceTransformer, encoder: str, record: dict[str, Any], output: Path) -> None:
    with atomic_path(output) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        carry_record(Path(encoder), partial)
        write_json(partial / "composition.json", record.pop("composition"))
        write_parquet(partial / "batches.parquet", [record.pop("batches")], batch_schema())
        write_json(partial / "training.json", record)
        (partial / "README.md").write_text(model_card.render(record), "utf-8")
        write_sums(partial)


def main(argv: list[str] | None = None) -> None:
    with stage.importing():
        from polybatch.training import preemption

    ranks = Ranks.of_environment()
    if not ranks.first:
        stage.log.setLevel(logging.WARNING)
    if ranks.several:  # what the libraries say to each other, at every validation anew
        warnings.filterwarnings("ignore", ".broadcast_buffers|torch.distributed.nn.functional", FutureWarning)
    with told_once(ranks, together=preemption.TrainingStoppedError):
        _train_and_save(parse(argv), ranks)


def _train_and_save(args: argparse.Namespace, ranks: Ranks) -> None:
    ranks.check(args.options)
    keep_few_shapes()
    args.made_from = _made_from(args) if ranks.first else None
    args.options = on_this_machine(args.options)
    if ranks.first:
        _tell_how(args.options, ranks)
    own_texts = args.checkpoints.with_name(args.checkpoints.name + ".texts")
    table = read_pairs(
        args.parallel,
        number_of(args.num_pairs),
        num_translated=number_of(args.num_translated),
        paraphrases=args.paraphrases,
        hard_negatives=args.options.hard_negatives,
        text_cache=args.text_cache or own_texts,
    )
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
        fingerprint=fingerprint_of(args, model) if ranks.first else {},
        source_weights=args.source_weights,
        ranks=ranks,
    )
    ranks.part()
    if not ranks.first:
        return
    _save(model, args.encoder, _record(args, table, len(validation), result), args.output)
    if not args.keep_checkpoints:
        shutil.rmtree(args.checkpoints)
    shutil.rmtree(own_texts, ignore_errors=True)
    stage.log.info("trained %s: best step %d of %d", args.output, result["best_step"], result["steps"])


def _made_from(args: argparse.Namespace) -> dict[str, Any]:
    names = ("num_pairs", "num_translated", "seed", "source_weights")
    given = {name: getattr(args, name) for name in names} | {"training": args.options.given()}
    return made_from.record(
        {**given, "sampling": args.sampling.name, "alpha": args.sampling.label},
        encoder=args.encoder if Path(args.encoder).is_dir() else None,
        parallel=args.parallel,
        paraphrases=args.paraphrases,
        validation=args.validation,
    )


def _tell_how(options: TrainingOptions, ranks: Ranks) -> None:
    """Logs on what, and as what share of a batch, a training computes."""
    tell_torch_device()
    stage.log.info("training in %s", options.precision)
    if not ranks.several:
        return
    rows = options.batch_size // ranks.world_size
    stage.log.info("%d processes, %d of a batch's %d pairs each", ranks.world_size, rows, options.batch_size)
    if options.mini_batch_size is not None and options.mini_batch_size > rows:
        stage.log.info("mini_batch_size %d is more than that: no batch is cut up", options.mini_batch_size)


def _record(
    args: argparse.Namespace, table: PairTable, validation_pairs: int, result: dict[str, Any]
) -> dict[str, Any]:
    """The content of training.json, and of the files that `_save` takes out of it."""

    encoder_record = Path(args.encoder) / RECORD
    return {
        "encoder": args.encoder,
        "encoder_record": read_json(encoder_record) if encoder_record.is_file() else None,
        "sampling": args.sampling.name,
        "alpha": args.sampling.label,
        "num_pairs": args.num_pairs,
        "num_translated": args.num_translated,
        "languages": list(table.languages),
        "seed": args.seed,
        "options": args.options.as_dict(),
        "pairs": len(table),
        "pairs_per_language": table.counts(),
        "machine_translated_per_language": dict(zip(table.languages, table.machine.sum(axis=0).tolist(), strict=True)),
        "pairs_per_source": table.counts_by_source(),
        "source_weights": args.source_weights,
        "paraphrased_pairs": int(table.paraphrased.sum()) if table.paraphrased is not None else 0,
        "validation_pairs": validation_pairs,
        "license": args.license,
        "made_from": args.made_from,
        **{key: value for key, value in result.items() if key != "speed"},
        **result["speed"],
    }


if __name__ == "__main__":
    stage.run(main)
