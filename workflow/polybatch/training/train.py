"""Fine-tunes an encoder into a retriever with one of the batch samplings.

inputs: an encoder (folder or hub id), parallel/<lang>.parquet of every training language, validation.parquet;
optionally parallel/paraphrase.parquet, and a teacher (folder or hub id)
outputs: models/<run>/, a sentence-transformers folder with its model card, training.json (what was trained, on
what, how it went), composition.json (what the batches held) and batches.parquet (a row for each step);
checkpoints and the texts (`pairs.text_store`) while it runs

Score and early stopping follow Elmahdy et al. (arXiv 2408.10536, section 4): cosine similarity, and the checkpoint
with the lowest InfoNCE on English validation pairs; so does the loss, unless the objective is another than `infonce`
(`objectives`). A killed training
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

from polybatch.core import checkpoints, contracts, stage
from polybatch.core.device import tell_torch_device
from polybatch.core.errors import ConfigError
from polybatch.core.files import atomic_path, write_json, write_parquet
from polybatch.core.sums import write_sums
from polybatch.encoders import dropout, packed
from polybatch.encoders.kernels import keep_few_shapes
from polybatch.encoders.load import carry_record
from polybatch.pairs.table import PairTable, read_pairs
from polybatch.training import model_card, record
from polybatch.training.arguments import attend_in, on_this_machine, resolved, training_arguments
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.command_line import number_of, parse
from polybatch.training.composition import batch_schema, composition
from polybatch.training.inputs import load_encoder, read_validation, set_up
from polybatch.training.objectives.known import objective_of
from polybatch.training.objectives.objective import Objective
from polybatch.training.options import TrainingOptions
from polybatch.training.processes import Ranks, told_once
from polybatch.training.sampling import Sampling, Shares
from polybatch.training.stages import check_validations

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

    from polybatch.training.objectives.teacher import Teacher


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
    objective: str = contracts.PLAIN_OBJECTIVE,
    teacher: Teacher | None = None,
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
        objective: By its name (`objectives.known`).
        teacher: For an objective that has one, on the model's device.
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
    ranks = ranks or Ranks.of_environment()
    options = resolved(options, len(table))
    chosen = _objective(objective, options, sampling, table)
    shares = Shares.of(options, source_weights or {})
    sizes = {"batch_size": options.batch_size, "num_steps": options.max_steps}
    sampler = BatchSampler(table, sampling, **sizes, seed=seed, shares=shares, second=chosen.second, ranks=ranks)
    args = training_arguments(options, seed, folder, ranks)  # also makes the processes known to each other
    adapters = _set_up_weights(model, options, teacher, seed)
    checkpoint = _found_checkpoint(folder, fingerprint, ranks)
    state = checkpoints.state_of(checkpoint) if checkpoint else None
    if state is None or not checkpoints.is_finished(state):
        state = _run(model, validation, sampler, chosen, teacher, args=args, checkpoint=checkpoint, ranks=ranks)
    if not ranks.first:
        return {}
    checkpoints.load_weights(model, folder / f"checkpoint-{state['best_global_step']}")
    _leave_the_encoder(model, adapters)
    return _result(state, sampler, ranks.world_size)


def _set_up_weights(model: SentenceTransformer, options: TrainingOptions, teacher: Teacher | None, seed: int) -> Any:
    """Freezes what stays, and puts in what is trained besides: adapters, which are returned, and a projection."""
    from polybatch.encoders import layers
    from polybatch.training import lora
    from polybatch.training.objectives import choice

    if options.precision == "bf16" and packed.pack(model):
        stage.log.info("texts are embedded one behind the other, without padding")
    if layers.freeze(model, embeddings=options.freeze_embeddings, layers=options.freeze_layers):
        _tell_frozen(model)
    adapters = lora.add_adapters(model, options, seed) if options.lora_r else None
    choice.ready(model, teacher, seed)
    dropout.hash_dropout(model)
    return adapters


def _leave_the_encoder(model: SentenceTransformer, adapters: Any) -> None:
    """Takes out again what `_set_up_weights` put in: adapters are added to the weights."""
    from polybatch.training import lora
    from polybatch.training.objectives import projection

    projection.remove(model)
    packed.unpack(model)
    dropout.draw_dropout(model)
    if adapters:
        lora.merge(adapters)


def _objective(name: str, options: TrainingOptions, sampling: Sampling, table: PairTable) -> Objective:
    """The objective; raises a ConfigError if it cannot be trained with these options, this sampling, these pairs."""
    objective = objective_of(name, options, sampling.name)
    check_validations(objective.stages(options.max_steps), options.eval_steps)
    if objective.columns and int(table.present.sum(axis=1).max()) < 2:
        raise ConfigError(
            f"The objective {name} compares a text with its translation, and no pair exists in two languages.",
            expected="parallel text",
            found=", ".join(f"{number} pairs in {lang}" for lang, number in table.counts().items()),
            remedy="add a language to languages.train, or take the objective infonce",
        )
    return objective


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
    objective: Objective,
    teacher: Teacher | None,
    *,
    args: SentenceTransformerTrainingArguments,
    checkpoint: Path | None,
    ranks: Ranks,
) -> dict[str, Any]:
    from polybatch.training import memory, preemption
    from polybatch.training.objectives.choice import loss_of
    from polybatch.training.trainer import HybridTrainer, callbacks, negative_column

    if checkpoint:
        stage.log.info("resuming from %s", checkpoint)
    if ranks.first:
        memory.check(model, sampler.table, objective.options, ranks, objective=objective, teacher=teacher)
    options, stages = objective.options, objective.stages(objective.options.max_steps)
    negatives = [negative_column(k) for k in range(options.hard_negatives)]
    columns = ["query", "passage", *negatives, *objective.student_columns]
    args.prompts = {name: model.prompts["query" if name.endswith("query") else "passage"] or "" for name in columns}
    with preemption.noticing() as asked_to_stop:
        watching = callbacks(sampler, options.patience, stages, ranks, asked_to_stop)
        trainer = HybridTrainer(
            sampler=sampler,
            ranks=ranks,
            model=model,
            args=args,
            validation=validation,
            objective=objective,
            teacher=teacher,
            loss=loss_of(objective, model, options, teacher=teacher, gather=ranks.several),
            callbacks=list(watching),
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        ranks.wait()
    if any(getattr(callback, "interrupted", False) for callback in watching):
        raise preemption.stopped(trainer.state.global_step, options.max_steps)
    return asdict(trainer.state)


def _save(model: SentenceTransformer, encoder: str, told: dict[str, Any], output: Path) -> None:
    with atomic_path(output) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        carry_record(Path(encoder), partial)
        write_json(partial / "composition.json", told.pop("composition"))
        write_parquet(partial / "batches.parquet", [told.pop("batches")], batch_schema())
        write_json(partial / "training.json", told)
        (partial / "README.md").write_text(model_card.render(told), "utf-8")
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
    args.made_from = record.made_from_of(args) if ranks.first else None
    args.options = on_this_machine(args.options)
    attend_in(args.options)
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
    teacher = None
    if args.objective in contracts.TAUGHT_OBJECTIVES:
        from polybatch.training.objectives.teacher import load_teacher

        teacher = load_teacher(args.teacher or args.encoder, args.options, own=not args.teacher)
    validation = read_validation(args.validation)
    result = train(
        model,
        table,
        validation,
        args.sampling,
        args.options,
        seed=args.seed,
        folder=args.checkpoints,
        fingerprint=record.fingerprint_of(args, model, teacher.model if teacher else None) if ranks.first else {},
        objective=args.objective,
        teacher=teacher,
        source_weights=args.source_weights,
        ranks=ranks,
    )
    ranks.part()
    if not ranks.first:
        return
    _save(model, args.encoder, record.training_record(args, table, len(validation), result), args.output)
    if not args.keep_checkpoints:
        shutil.rmtree(args.checkpoints)
    shutil.rmtree(own_texts, ignore_errors=True)
    stage.log.info("trained %s: best step %d of %d", args.output, result["best_step"], result["steps"])


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


if __name__ == "__main__":
    stage.run(main)
