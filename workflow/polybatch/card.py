"""The model card of a trained retriever: where it stands in the grid, what it learned from, how to use it.

inputs: the record that `train` makes
outputs: README.md as text (YAML header and Markdown)
"""

from __future__ import annotations

from typing import Any

import yaml


def render(record: dict[str, Any]) -> str:
    """The card of a training record (the content of training.json)."""
    header = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "language": record["languages"],
        "tags": ["sentence-transformers", "feature-extraction", "retrieval", "polybatch"],
    }
    if record["license"]:
        header["license"] = record["license"]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
            "---",
            f"# A multilingual retriever, trained with {_sampling(record)} batches",
            "",
            f"Made by Polybatch from `{record['encoder']}`. It embeds queries and passages in "
            f"{len(record['languages'])} languages ({', '.join(record['languages'])}) for cosine similarity.",
            "",
            "## How it was trained",
            *_table(_grid_point(record)),
            "",
            "## Training data",
            *_table({lang: f"{count} pairs" for lang, count in record["pairs_per_language"].items()}),
            "",
            f"{record['pairs']} distinct pairs; {record['validation_pairs']} English pairs for validation.",
            f"Licence of the training data: {record['license'] or 'not stated'}.",
            "`composition.json` counts what the batches held, `training.json` holds every option.",
            "",
            "## Use",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder")',
            'queries = model.encode(["..."], prompt_name="query", normalize_embeddings=True)',
            'passages = model.encode(["..."], prompt_name="passage", normalize_embeddings=True)',
            "scores = queries @ passages.T",
            "```",
            "",
        ]
    )


def _grid_point(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "encoder": record["encoder"],
        "sampling": _sampling(record),
        "num_pairs": record["num_pairs"],
        "languages": " ".join(record["languages"]),
        "seed": record["seed"],
        "steps": record["steps"],
        "best step": record["best_step"],
        "validation loss": f"{record['validation_loss']:.4f}",
        "batch size": record["options"]["batch_size"],
        "learning rate": record["options"]["learning_rate"],
        "temperature": record["options"]["temperature"],
    }


def _sampling(record: dict[str, Any]) -> str:
    alpha = "" if record["alpha"] is None else f" (alpha {record['alpha']:g})"
    return record["sampling"] + alpha


def _table(rows: dict[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
