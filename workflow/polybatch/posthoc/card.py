"""Model cards of models that were projected, or mixed of two: what was done, and the card of the model before.

inputs: projection.json or mixture.json, the folder of the model before
outputs: README.md as text (YAML header and Markdown)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

README = "README.md"
_HEADER = """library_name: sentence-transformers
pipeline_tag: sentence-similarity"""
_NEEDS_LANGUAGE = """**The language of every text must be known.** This folder holds the model as it was, and
`language_vectors.safetensors`: what is to be taken off the vector of a text, of length 1, by its side and language
(`<side>.<lang>`), after which it is brought to length 1 again. sentence-transformers does not do that by itself.

```python
import numpy as np
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

folder = "path/to/this/folder"
model, vectors = SentenceTransformer(folder), load_file(f"{folder}/language_vectors.safetensors")

def embed(texts, lang, side):  # side: "queries" or "corpus"
    found = model.encode(texts, prompt_name={"queries": "query", "corpus": "passage"}[side], normalize_embeddings=True)
    taken = vectors.get(f"{side}.{lang}", vectors.get(f"{side}.other", 0))
    return (found - taken) / np.linalg.norm(found - taken, axis=1, keepdims=True)
```"""
_NEEDS_NOTHING = """The projection is a Dense module of this model, without bias, with a Normalize behind it.
sentence-transformers does all by itself, and no text's language needs to be known."""


def words(record: dict[str, Any]) -> str:
    """What a projection is, in one line."""
    if record["kind"] == "lir":
        return (
            f"{record['rank']} directions projected out, in which the means of languages differ "
            f"({record['explained']:.0%} of their difference)"
        )
    if record["kind"] == "centring":
        return "the mean of a text's language taken off"
    return f"{record['strength']:g} of the difference of a passage's language to English taken off"


def projected(record: dict[str, Any], before: Path) -> str:
    """The card of a model with a projection; `record` is projection.json."""
    rows = [f"| {name} | {number} |" for name, number in record["texts"].items()]
    return _card(
        before,
        f"{words(record)[0].upper()}{words(record)[1:]}",
        [
            f"Made by Polybatch from the model below without a training: {words(record)} (`{record['projection']}`).",
            "",
            _NEEDS_NOTHING if record["kind"] == "lir" else _NEEDS_LANGUAGE,
            "",
            f"Languages without training text: {record['other_languages']}. The projection was estimated from training "
            "text alone:",
            "",
            "| texts | number |",
            "|---|---|",
            *rows,
            "",
            "`projection.json` holds the rest.",
        ],
    )


def mixed(record: dict[str, Any], after: Path) -> str:
    """The card of a mixture of weights; `record` is mixture.json."""
    share = record["share"]
    return _card(
        after,
        f"A mixture of weights: {share:g} trained, {1 - share:g} as before",
        [
            f"Made by Polybatch without a training: each weight is {share:g} of the trained model below and "
            f"{1 - share:g} of the one that its training began with (WiSE-FT, arXiv 2109.01903). It is used as that "
            "model is.",
            "",
            "`mixture.json` holds the rest.",
        ],
    )


def _card(before: Path, title: str, told: list[str]) -> str:
    header, body = _parts(before)
    return (
        "\n".join(["---", header, "---", f"# {title}", "", *told, "", "# The model before", "", body]).rstrip() + "\n"
    )


def _parts(folder: Path) -> tuple[str, str]:
    """Header and text of a model's card; a header of our own and a line where there is none."""
    path = folder / README
    text = path.read_text("utf-8") if path.is_file() else ""
    if text.startswith("---\n") and "\n---\n" in text[3:]:
        header, _, body = text[4:].partition("\n---\n")
        return _without_results(header.strip()), body.strip().replace("\n#", "\n##").removeprefix("# ")
    return _HEADER, text.strip() or f"`{folder}`, which has no card."


def _without_results(header: str) -> str:
    """A header of YAML without the results that it states: they are of the model before, and not of this one."""
    import yaml

    try:
        head = yaml.safe_load(header)
    except yaml.YAMLError:
        return header  # of a card that no reader of YAML takes anything from
    if not isinstance(head, dict) or "model-index" not in head:
        return header
    kept = {key: value for key, value in head.items() if key != "model-index"}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)).strip() if kept else _HEADER
