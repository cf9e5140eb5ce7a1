"""What the trainings of train.py start from: pairs in several languages, made up or a study's, and small encoders.

inputs: a study's folder with parallel/<lang>.parquet and validation.parquet, or none
outputs: a folder with these files; sentence-transformers folders
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from figures_of_a_run import ROOT

from polybatch.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = ROOT / "results" / "homeassistant"
LANGS = ("en", "de", "es", "fr", "tr", "zh")
MADE_UP_PAIRS = {"cpu": 4_000, "cuda": 100_000}
_SEED, _WORDS, _PART = 7, 3_000, 50_000


# Text


def made_up(folder: Path, pairs: int, langs: tuple[str, ...]) -> Path:
    """Pairs in the lengths of Home Assistant's, each language in words of its own, and 200 pairs for validation."""
    from polybatch.core import contracts
    from polybatch.core.files import write_parquet

    for lang in langs:
        tables = _tables(lang, 0, pairs)
        write_parquet(folder / "parallel" / f"{lang}.parquet", tables, contracts.PARALLEL)
    write_parquet(folder / "validation.parquet", _tables("en", pairs, pairs + 200), contracts.PARALLEL)
    return folder


def _tables(lang: str, start: int, stop: int) -> Iterator[pa.Table]:
    """Pairs of these numbers in parts. A pair's three first words are its own, in query and passage."""
    import pyarrow as pa

    words, bases = _words_of(lang)
    for begin in range(start, stop, _PART):
        numbers = range(begin, min(begin + _PART, stop))
        own = [f"{words[n % _WORDS]} {words[n // 7 % _WORDS]} {words[n // _WORDS % _WORDS]}" for n in numbers]
        texts = [
            (f"{subject} {base[0]}", f"{subject} {base[1]}") for subject, base in zip(own, bases(begin), strict=False)
        ]
        count = len(texts)
        yield pa.table(
            {
                "pair_id": [f"{number:016x}" for number in numbers],
                "source": ["made-up"] * count,
                "origin": ["english" if lang == "en" else "supplied"] * count,
                "query": [query for query, _ in texts],
                "passage": [passage for _, passage in texts],
                "hard_negatives": pa.array([[]] * count, pa.list_(pa.string())),
            }
        )


def _words_of(lang: str) -> tuple[list[str], Callable[[int], Iterator[tuple[str, str]]]]:
    """A language's words, and the endless ends of queries and passages from a number on, the same in all languages."""
    draw = random.Random(_SEED)
    words = [lang[0] + "".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 6))) for _ in range(_WORDS)]

    def text(mean: float, spread: float) -> str:
        length = min(200, max(1, round(draw.lognormvariate(mean, spread))))
        return " ".join(words[int(_WORDS * draw.random() ** 3)] for _ in range(length))

    bases = [(text(0.7, 0.6), text(2.2, 0.9)) for _ in range(2_003)]
    return words, lambda begin: (bases[number % len(bases)] for number in itertools.count(begin))


def find_data(args: argparse.Namespace, scratch: Path) -> tuple[Path, str]:
    """The folder of the pairs, and what to call them."""
    folder = args.data or STUDY
    needed = [folder / "validation.parquet", *(folder / "parallel" / f"{lang}.parquet" for lang in LANGS)]
    missing = [path for path in needed if not path.is_file()]
    if args.data and missing:
        raise DataError("The study lacks files.", where=args.data, expected="training pairs", found=str(missing[0]))
    if not missing and not args.quick and args.device == "cpu":
        return folder, "Home Assistant's pairs" if not args.data else f"pairs of {args.data.name}"
    return made_up(scratch / "pairs", 200 if args.quick else MADE_UP_PAIRS[args.device], LANGS), "made-up pairs"


# Encoders


def tiny_encoder(scratch: Path, data: Path) -> Path:
    """As the default study makes it."""
    return _scratch_encoder(
        scratch / "tiny", data, vocab_size=6_000, num_layers=1, hidden_size=256, intermediate_size=128
    )


def micro_encoder(scratch: Path, data: Path) -> Path:
    """So small that reading, sampling and tokenising take most of the time."""
    shape = {"num_layers": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32}
    return _scratch_encoder(scratch / "micro", data, vocab_size=1_500, **shape)


def _scratch_encoder(folder: Path, data: Path, **shape: int) -> Path:
    import pyarrow.parquet as pq

    from polybatch.encoders.options import EncoderOptions
    from polybatch.encoders.scratch import build_encoder

    texts = [
        text
        for lang in LANGS
        if (path := data / "parallel" / f"{lang}.parquet").is_file()
        for column in pq.read_table(path, columns=["query", "passage"]).columns
        for text in column.to_pylist()[:4_000]
    ]
    build_encoder(texts, EncoderOptions.from_values(shape), folder)
    return folder
