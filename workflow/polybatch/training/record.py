"""What a training depends on, and what is kept on record of it.

inputs: the command line of a training (`command_line.parse`), the encoder, the pairs, the result
outputs: the fingerprint that its checkpoints carry; the content of training.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import __version__
from polybatch.core import checkpoints, made_from
from polybatch.core.digest import code_digest
from polybatch.core.files import read_json
from polybatch.encoders.load import PROJECTION, RECORD
from polybatch.pairs.table import PairTable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def fingerprint_of(
    args: argparse.Namespace, model: SentenceTransformer, teacher: SentenceTransformer | None = None
) -> dict[str, Any]:
    """Everything the trained weights depend on.

    Args:
        args: The command line.
        model: The encoder that it names.
        teacher: The teacher that it names, if it names one.
    """
    import sentence_transformers
    import torch
    import transformers

    return {
        "encoder": _model_fingerprint(args.encoder, model),
        "parallel": {lang: checkpoints.fingerprint_of(path) for lang, path in args.parallel.items()},
        "validation": checkpoints.fingerprint_of(args.validation),
        "paraphrases": checkpoints.fingerprint_of(args.paraphrases) if args.paraphrases else None,
        "sampling": [args.sampling.name, args.sampling.label],
        "objective": args.objective,
        "teacher": _model_fingerprint(args.teacher, teacher) if args.teacher else None,
        "source_weights": args.source_weights,
        "num_pairs": args.num_pairs,
        "num_translated": args.num_translated,
        "seed": args.seed,
        "threads": torch.get_num_threads(),
        # How many processes prepare batches is the machine's, and no weight depends on it.
        "options": {name: value for name, value in args.options.as_dict().items() if name != "num_workers"},
        "code": code_digest("training.train"),
        "versions": {
            "polybatch": __version__,
            "sentence_transformers": sentence_transformers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _model_fingerprint(name: str, model: Any) -> Any:
    if Path(name).is_dir():
        return checkpoints.fingerprint_of(Path(name))
    return [name, getattr(getattr(model[0], "config", None), "_commit_hash", None)]


def made_from_of(args: argparse.Namespace) -> dict[str, Any]:
    """The record of what the model is made from (`core.made_from`)."""
    names = ("num_pairs", "num_translated", "seed", "source_weights")
    given = {name: getattr(args, name) for name in names} | {"training": args.options.given()}
    return made_from.record(
        {**given, "sampling": args.sampling.name, "alpha": args.sampling.label, "objective": args.objective},
        encoder=args.encoder if Path(args.encoder).is_dir() else None,
        teacher=args.teacher if args.teacher and Path(args.teacher).is_dir() else None,
        parallel=args.parallel,
        paraphrases=args.paraphrases,
        validation=args.validation,
    )


def training_record(
    args: argparse.Namespace, table: PairTable, validation_pairs: int, result: dict[str, Any]
) -> dict[str, Any]:
    """The content of training.json, and of the files that are taken out of it and written beside it.

    Args:
        args: The command line.
        table: The pairs that were trained on.
        validation_pairs: How many there were.
        result: As `train.train` returns it.
    """
    begin = Path(args.encoder) / PROJECTION
    return {
        "encoder": args.encoder,
        "encoder_record": _encoder_record(args.encoder),
        "begin": read_json(begin)["projection"] if begin.is_file() else None,
        "objective": args.objective,
        "teacher": args.teacher,
        "teacher_record": _encoder_record(args.teacher) if args.teacher else None,
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


def _encoder_record(encoder: str) -> Any:
    path = Path(encoder) / RECORD
    return read_json(path) if path.is_file() else None
