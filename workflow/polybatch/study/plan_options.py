"""The words of `polybatch plan` that are ours and not Snakemake's.

inputs: a command line
outputs: an argparse namespace: `devices`, `on`, `cards`, `pairs`, `translated`, `rates`
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from polybatch.core.errors import ConfigError
from polybatch.study.rates import KINDS

# The variable that carries them from `polybatch plan` through Snakemake to the stage, as a shell would quote them.
VARIABLE = "POLYBATCH_PLAN"
_CARDS = "POLYBATCH_GPUS"
DEVICES = (1, 2, 4, 8, 16, 32)


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Adds what both `polybatch plan` and its stage understand."""
    default = " ".join(map(str, DEVICES))
    parser.add_argument(
        "--devices",
        nargs="+",
        type=_count,
        default=list(DEVICES),
        metavar="N",
        help=f"how many cards (or other devices) to reckon the wall clock for (default: {default})",
    )
    parser.add_argument(
        "--on",
        choices=KINDS,
        help="what a device is where nothing was measured: gpu, a data-centre card (default), or cpu, two cores",
    )
    parser.add_argument(
        "--cards",
        type=_count,
        default=_cards_of_a_training(),
        metavar="N",
        help="cards for each training (default: POLYBATCH_GPUS, or 1)",
    )
    parser.add_argument("--pairs", type=_number, metavar="N", help="as if there were so many English training pairs")
    parser.add_argument("--translated", type=_number, metavar="N", help="as if so many of them were machine-translated")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="your own rates, over those of study/rates.yaml")


def _cards_of_a_training() -> int:
    """What POLYBATCH_GPUS says.

    Raises:
        ConfigError: It is no number.
    """
    text = os.environ.get(_CARDS) or "1"
    try:
        # 0 is a cluster without cards: a training takes one of whatever computes.
        return max(1, int(text))
    except ValueError as error:
        raise ConfigError(
            "The number of cards for each training is none.", where=_CARDS, expected="a whole number", found=text
        ) from error


def own_words(asked: argparse.Namespace) -> list[str]:
    """The words that give the same namespace again."""
    words = ["--devices", *map(str, asked.devices), "--cards", str(asked.cards)]
    for name in ("on", "pairs", "translated", "rates"):
        if (value := getattr(asked, name)) is not None:
            words += [f"--{name}", f"{value:.17g}" if isinstance(value, float) else str(value)]
    return words


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of devices: at least 1")
    return number


def _number(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of pairs: above 0")
    return number
