"""Fine-tunes an encoder into a retriever with one of the batch samplings.

inputs: an encoder (folder or hub id), parallel/<lang>.parquet of every training language, validation.parquet;
optionally parallel/paraphrase.parquet
outputs: models/<run>/, a sentence-transformers folder with its model card, training.json (what was trained, on
what, how it went), composition.json (what the batches held) and batches.parquet (the same, step by step);
checkpoints and the texts (`pair_texts`) while it runs

Loss, score and early stopping follow Elmahdy et al. (arXiv 2408.10536, section 4): cosine similarity, InfoNCE
over in-batch negatives, and the checkpoint with the lowest loss on English validation pairs. A killed training
continues from its last checkpoint and, on a CPU, ends with the same weights bit by bit. Several processes (torch's
launcher; `polybatch.cluster.launch --gpu N --distributed`) share every batch and train what one would, up to rounding.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import __version__
from polybatch.core import checkpoints, contracts, made_from, stage
from polybatch.core.arguments import parse_paths
from polybatch.core.device import tell_torch_device
from polybatch.core.errors import ConfigError, DataError, TrainingError
from polybatch.core.files import atomic_path, read_json, read_parquet, write_json, write_parquet
from polybatch.core.sums import write_sums
from polybatch.encoders.kernels import keep_few_shapes
from polybatch.encoders.load import RECORD, carry_record, load_model
from polybatch.pairs.table import PairTable, read_pairs
from polybatch.training import model_card as card
from polybatch.training.batch_sampler import BatchSampler
from polybatch.training.composition import batch_schema, composition
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
        `composition` and `batches` (see `composition`), and `speed` (see `trainer.speed_of`). Nothing in the others.

    Raises:
        ConfigError: Options that do not fit the encoder or the data.
        TrainingError: Too few pairs for a batch, or the loss diverged.
        TrainingStoppedError: SIGTERM came; the last step is saved.
    """
    from polybatch.training import lora

    ranks = ranks or Ranks.of_environment()
    options = _resolved(options, len(table))
    args = training_arguments(options, seed, folder, ranks)
    sampler = BatchSampler(
        table,
        sampling,
        batch_size=options.batch_size,
        num_steps=options.max_steps,
        seed=seed,
        shares=Shares(
            source_weights or {},
            options.source_temperature,
            options.language_weights,
            options.language_temperature,
            options.drop_small_sources,
        ),
        ranks=ranks,
    )
    adapters = lora.add_adapters(model, options, seed) if options.lora_r else None
    checkpoint = _found_checkpoint(folder, fingerprint, ranks)
    state = checkpoints.state_of(checkpoint) if checkpoint else None
    if state is None or not checkpoints.is_finished(state):
        state = _run(model, validation, sampler, options, args=args, checkpoint=checkpoint, ranks=ranks)
    if not ranks.first:
        return {}
    checkpoints.load_weights(model, folder / f"checkpoint-{state['best_global_step']}")
    if adapters:
        lora.merge(adapters)
    return _result(state, sampler, ranks.world_size)


def _found_checkpoint(folder: Path, fingerprint: dict[str, Any], ranks: Ranks) -> Path | None:
    """The checkpoint to continue from, as the first process found it, which alone removes what is of no use."""
    found = checkpoints.prepare(folder, fingerprint) if ranks.first else None
    step = ranks.of_first(checkpoints.step_of(found) if found else -1)
    return None if step < 0 else checkpoints.of_step(folder, step)


def on_this_machine(options: TrainingOptions) -> TrainingOptions:
    """The options with a precision in place of `auto`, and without buckets by `auto` where they do not pay.

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
        options = options.changed(precision="bf16" if able else "fp32")
    if options.bucket_width == "auto" and (options.mini_batch_size is not None or torch.accelerator.is_available()):
        options = options.changed(bucket_width=None)
    return options


def _resolved(options: TrainingOptions, num_pairs: int) -> TrainingOptions:
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
        dataloader_num_workers=options.num_workers,
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


def loss_of(model: SentenceTransformer, options: TrainingOptions, *, gather: bool) -> Any:
    """The library's loss for our options, a torch module; `gather` takes candidates from all processes."""
    from sentence_transformers.sentence_transformer import losses

    from polybatch.training.trainer import LengthBuckets

    scale = 1.0 / options.temperature
    width = options.bucket_width
    embedder: Any = model if width is None else LengthBuckets(model, width if isinstance(width, int) else None)
    loss = (
        losses.MultipleNegativesRankingLoss(embedder, scale=scale, gather_across_devices=gather)
        if options.mini_batch_size is None
        else losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=options.mini_batch_size, gather_across_devices=gather
        )
    )
    if options.matryoshka_dims is None:
        return loss
    return losses.MatryoshkaLoss(model, loss, _matryoshka_dims(model, options.matryoshka_dims))


def _matryoshka_dims(model: SentenceTransformer, dims: list[int]) -> list[int]:
    whole = model.get_embedding_dimension()
    if whole is None or max(dims) > whole:
        raise ConfigError(
            "matryoshka_dims are longer than the encoder's embeddings.",
            expected=f"lengths of at most {whole}",
            found=", ".join(map(str, dims)),
        )
    return sorted({*dims, whole}, reverse=True)


def load_encoder(name: str) -> SentenceTransformer:
    """Loads an encoder's folder (`model.load_model`), or a model of the hub, without running code from it.

    Raises:
        DataError: The folder is not whole.
        TrainingError: There is no such folder, and no such model of the hub.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    if Path(name).is_dir():
        return load_model(Path(name))
    try:
        return SentenceTransformer(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(
            "The encoder cannot be loaded.",
            where=name,
            expected="a sentence-transformers folder, or the id of a hub model with safetensors weights",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="let `snakemake train` make the folder; for a hub model check its id, the network, or HF_HOME",
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
        "paraphrases": checkpoints.fingerprint_of(args.paraphrases) if args.paraphrases else None,
        "sampling": [args.sampling.name, args.sampling.label],
        "source_weights": args.source_weights,
        "num_pairs": args.num_pairs,
        "num_translated": args.num_translated,
        "seed": args.seed,
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
        (partial / "README.md").write_text(card.render(record), "utf-8")
        write_sums(partial)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="polybatch.training.train", description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", required=True, help="folder or hub id")
    parser.add_argument("--parallel", required=True, nargs="+", metavar="LANG=PATH")
    parser.add_argument("--paraphrases", type=Path, help="second English texts of pairs")
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--sampling", required=True, help=", ".join(contracts.SAMPLINGS))
    parser.add_argument("--alpha", help="share of monolingual batches, for hybrid: 0.5, or 1to0.5 from first to last")
    parser.add_argument("--num-pairs", default="all", help="all, or how many training pairs to use")
    parser.add_argument("--num-translated", default="all", help="all, or how many pairs keep machine translations")
    parser.add_argument("--source-weights", default="{}", help="JSON: source to what stands for its number of pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="{}", help="TrainingOptions, as JSON")
    parser.add_argument("--license", default="", help="of the training data, for the model card: text, or as JSON "
                        "source to licence")  # fmt: skip
    parser.add_argument("--checkpoints", required=True, type=Path)
    parser.add_argument("--keep-checkpoints", action="store_true", help="also after the model is saved")
    parser.add_argument("--text-cache", type=Path, help="folder of uncompressed texts that trainings share, which is "
                        "kept; without it they lie beside the checkpoints while the training runs")  # fmt: skip
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    args.parallel = parse_paths(args.parallel)
    args.sampling = Sampling(args.sampling, args.alpha if args.sampling == "hybrid" else None)
    args.options = TrainingOptions.from_json(args.options)
    args.source_weights = _json_object("--source-weights", args.source_weights)
    if args.license.startswith("{"):
        args.license = _json_object("--license", args.license)
    if args.seed < 0:
        raise ConfigError("The seed is negative.", expected="0 or more", found=str(args.seed))
    for name in ("num_pairs", "num_translated"):
        value = getattr(args, name)
        if value != "all" and not value.isdecimal():
            raise ConfigError(f"{name} is no number.", expected="all, or a whole number", found=value)
    return args


def _json_object(flag: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{flag} is no JSON object.", expected='{"source": ...}', found=text)
    return value


def _number(value: str) -> int | None:
    return None if value == "all" else int(value)


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
        _number(args.num_pairs),
        num_translated=_number(args.num_translated),
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
