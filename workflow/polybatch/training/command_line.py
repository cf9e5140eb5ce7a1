"""The command line of a training."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from polybatch.core import contracts
from polybatch.core.arguments import parse_paths
from polybatch.core.errors import ConfigError
from polybatch.training.options import TrainingOptions
from polybatch.training.sampling import Sampling


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; `options` becomes a TrainingOptions. Faults of options end in a ConfigError."""
    parser = argparse.ArgumentParser(
        prog="polybatch.training.train",
        description="Fine-tunes an encoder into a retriever with one of the batch samplings.",
    )
    parser.add_argument("--encoder", required=True, help="folder or hub id")
    parser.add_argument("--parallel", required=True, nargs="+", metavar="LANG=PATH")
    parser.add_argument("--paraphrases", type=Path, help="second English texts of pairs")
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--sampling", required=True, help=", ".join(contracts.SAMPLINGS))
    parser.add_argument("--alpha", help="share of monolingual batches, for hybrid: 0.5, or 1to0.5 from first to last")
    parser.add_argument("--objective", default=contracts.PLAIN_OBJECTIVE, help=", ".join(contracts.OBJECTIVES))
    parser.add_argument("--teacher", help="folder or hub id, for an objective with a teacher; without it the encoder "
                        "itself is the teacher")  # fmt: skip
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
    _check_teacher(args)
    for name in ("num_pairs", "num_translated"):
        value = getattr(args, name)
        if value != "all" and not value.isdecimal():
            raise ConfigError(f"{name} is no number.", expected="all, or a whole number", found=value)
    return args


def _check_teacher(args: argparse.Namespace) -> None:
    """Raises a ConfigError if the objective is unknown, or a teacher is named that is not there or not needed."""
    if args.objective not in contracts.OBJECTIVES:
        raise ConfigError("Unknown objective.", expected=", ".join(contracts.OBJECTIVES), found=args.objective)
    if args.teacher and args.objective not in contracts.TAUGHT_OBJECTIVES:
        raise ConfigError(
            f"The objective {args.objective} has no teacher.", expected="no --teacher", found=args.teacher
        )
    if args.options.teacher and args.objective in contracts.TAUGHT_OBJECTIVES and not args.teacher:
        raise ConfigError(
            f"The options name the teacher {args.options.teacher}, which is not given.",
            expected="--teacher with its folder",
            found="no --teacher",
        )


def _json_object(flag: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{flag} is no JSON object.", expected='{"source": ...}', found=text)
    return value


def number_of(value: str) -> int | None:
    return None if value == "all" else int(value)
