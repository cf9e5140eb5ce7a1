"""Means of a model's vectors over training text, by language: what projections are estimated from.

inputs: a model, parallel/<lang>.parquet of all training languages
outputs: language_means/<run>/<side>.parquet (contracts.LANGUAGE_MEANS), of one side ("queries" or "corpus")

All projections of a model are estimated from these two files, so that each text is embedded once, however many there
are. Few texts are counted and not refused: how many a projection needs, `posthoc.estimate` knows.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import contracts, made_from, stage
from polybatch.core.arguments import parse_paths
from polybatch.core.device import tell_torch_device
from polybatch.core.errors import ConfigError
from polybatch.core.files import write_rows
from polybatch.embedding.embedder import Embedder, Model, prompt_of
from polybatch.embedding.options import EncodeOptions
from polybatch.posthoc.texts import ALL, COLUMNS, ENGLISH, WITH_ENGLISH, Text, choose, texts_of

if TYPE_CHECKING:
    import numpy as np

_TEXTS_AT_A_TIME = 8192
# (language, part): what a mean is of.
_Group = tuple[str, str]


def language_means(model: Model, parallel: Mapping[str, Path], side: str, texts: int) -> list[dict[str, Any]]:
    """Embeds the chosen training texts of one side, and takes their means.

    Args:
        model: The model, with the options that the study embeds with.
        parallel: Language -> its training text.
        side: "queries" or "corpus".
        texts: How many of each language, at most.

    Returns:
        Rows of contracts.LANGUAGE_MEANS, by language. A mean of no text is empty.

    Raises:
        ConfigError: The options cut embeddings.
    """
    if (cut := model.options.truncate_dim) is not None:
        raise ConfigError(
            "A projection is of whole embeddings.",
            expected="no truncate_dim",
            found=str(cut),
            remedy="leave out encoding.truncate_dim, or the projection",
        )
    chosen = {lang: choose(path, COLUMNS[side], texts) for lang, path in parallel.items()}
    with_english = side == "corpus" and "en" in parallel
    of_english = _english_of(parallel["en"], chosen) if with_english else {}
    groups: dict[str, dict[_Group, list[str]]] = {}
    for lang, mine in chosen.items():
        groups.setdefault(lang, {})[lang, ALL] = [text.text for text in mine]
        if with_english and lang != "en":
            both = [text for text in mine if text.pair_id in of_english]
            groups[lang][lang, WITH_ENGLISH] = [text.text for text in both]
            groups.setdefault("en", {})[lang, ENGLISH] = [of_english[text.pair_id] for text in both]
    found: dict[_Group, np.ndarray] = {}
    for lang, of_lang in groups.items():
        found |= _means(model, side, lang, of_lang)
    numbers = {group: len(of_group) for of_lang in groups.values() for group, of_group in of_lang.items()}
    return [
        {"side": side, "lang": lang, "part": part, "texts": numbers[lang, part], "mean": found[lang, part].tolist()}
        for lang in parallel
        for part in (ALL, WITH_ENGLISH, ENGLISH)
        if (lang, part) in found
    ]


def _english_of(path: Path, chosen: Mapping[str, Sequence[Text]]) -> dict[str, str]:
    """pair_id -> the English passage, of all pairs that were chosen in another language and have one."""
    return texts_of(path, "passage", {text.pair_id for lang, mine in chosen.items() if lang != "en" for text in mine})


def _means(model: Model, side: str, lang: str, groups: Mapping[_Group, Sequence[str]]) -> dict[_Group, np.ndarray]:
    """Group -> (dim,) float64. A text is embedded once, and counts in each group as often as it stands there."""
    import numpy as np
    import pyarrow as pa

    places = {text: place for place, text in enumerate(dict.fromkeys(chain.from_iterable(groups.values())))}
    texts = list(places)
    wanted = {
        group: np.sort(np.fromiter((places[text] for text in mine), np.int64, len(mine)))
        for group, mine in groups.items()
    }
    sums: dict[_Group, Any] = dict.fromkeys(groups, 0.0)
    embedder = Embedder(model.loaded, side, prompt_of(model.loaded, side, model.options), model.options)
    progress = stage.Progress(f"{side}/{lang}", len(texts), "texts")
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        part = pa.array(texts[start : start + _TEXTS_AT_A_TIME], pa.string())
        vectors = embedder.embed(embedder.prepare(part, part), progress)
        for group, rows in wanted.items():
            first, last = np.searchsorted(rows, (start, start + len(part)))
            sums[group] = sums[group] + vectors[rows[first:last] - start].sum(axis=0, dtype=np.float64)
    progress.end()
    return {group: sums[group] / len(mine) if len(mine) else np.empty(0) for group, mine in groups.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.posthoc.means", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="the model whose vectors the means are of")
    parser.add_argument("--parallel", required=True, nargs="+", metavar="LANG=PATH", help="training text")
    parser.add_argument("--side", required=True, choices=COLUMNS)
    parser.add_argument("--texts", type=int, required=True, help="of each language, at most")
    parser.add_argument("--encoding", default="{}", help="EncodeOptions, as JSON: how the study embeds")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    encoding, parallel = EncodeOptions.from_json(args.encoding), parse_paths(args.parallel)
    tell_torch_device()
    given = {"texts": args.texts, "encoding": encoding.given()}
    record = made_from.record(given, model=args.model, parallel=parallel)
    rows = language_means(Model(args.model, encoding), parallel, args.side, args.texts)
    write_rows(args.output, rows, made_from.with_record(contracts.LANGUAGE_MEANS, record))
    told = ", ".join(f"{row['texts']} in {row['lang']}" for row in rows if row["part"] == ALL)
    stage.log.info("%s: %s vectors of %s", args.output, COLUMNS[args.side], told)


if __name__ == "__main__":
    stage.run(main)
