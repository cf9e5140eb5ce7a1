"""The model card of an exported model, as the Hugging Face hub reads it.

inputs: a run with its training record, its scores, what its ONNX files cost
outputs: README.md as text: metadata (huggingface_hub's ModelCardData, results as `model-index`) and Markdown
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polybatch import __version__
from polybatch.export import card_results
from polybatch.export.scores import Scores
from polybatch.export.source import LANGUAGE_VECTORS, Source
from polybatch.training.model_card import encoder_words, how_trained, training_data

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_UNKNOWN = "not stated"
# Of https://huggingface.co/docs/hub/repositories-licenses, those that our sources and encoders have.
_HUB_LICENSES = re.compile(r"(apache-2\.0|mit|gpl-3\.0|mpl-2\.0|lgpl-3\.0|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[34]\.0)")


@dataclass(frozen=True)
class Facts:
    """What a card tells.

    Attributes:
        source: The run.
        scores: Its scores; None where it has none.
        before: Those of the encoder before any training; None where there are none.
        onnx: What the ONNX files cost, as export.json has it; empty where there are none.
        dim, max_tokens, parameters: Of the model; `max_tokens` is None where it reads texts of any length.
        prompts: {"query", "passage"}: with which the scores were made.
        own_prompts: Whether these are the model's own.
    """

    source: Source
    scores: Scores | None
    before: Scores | None
    dim: int
    max_tokens: int | None
    parameters: int
    prompts: Mapping[str, str]
    own_prompts: bool = True
    onnx: Mapping[str, Any] = field(default_factory=dict)


def render(facts: Facts) -> str:
    """The whole card."""
    body = "\n".join(_body(facts)).strip()
    return f"---\n{metadata(facts).to_yaml()}\n---\n\n{body}\n"


def metadata(facts: Facts) -> ModelCardData:
    """What stands in the card's head. The results are those of the mean over languages, and of each query language."""
    from huggingface_hub import ModelCardData

    source = facts.source
    name, label = license_of(source)
    base = source.base_model
    results = list(card_results.eval_results(source, facts.scores)) if facts.scores else None
    return ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        language=source.training.get("languages"),
        license=name or None,
        license_name=label or None,
        base_model=base or None,
        base_model_relation=_relation(source),
        tags=["sentence-transformers", "feature-extraction", "retrieval", "multilingual", "polybatch"]
        + (["onnx"] if facts.onnx else []),
        model_name=source.name if results else None,
        eval_results=results,
    )


def _relation(source: Source) -> str | None:
    """How the hub files the model under its base model; None where there is none, or nothing of it was changed."""
    if not source.base_model:
        return None
    if source.run.trained:
        return "finetune"
    return "quantized" if source.encoder.get("wheel") else None


def licenses(source: Source) -> dict[str, list[str]]:
    """{"weights": [of the encoder], "data": [of each source]}; what is not known is "not stated"."""
    stated = source.training.get("license", {})
    sources = source.training.get("pairs_per_source", {})
    of_data = stated if isinstance(stated, dict) else dict.fromkeys(sources, stated)
    data = [of_data.get(name) or _UNKNOWN for name in sources]
    base = [source.encoder.get("license") or _UNKNOWN] if source.base_model or not source.run.trained else []
    return {"weights": base, "data": list(dict.fromkeys(data))}


def license_of(source: Source) -> tuple[str, str]:
    """The `license` and `license_name` of the card's head.

    One of the hub's names where encoder and training data are all under that; else "other", with all in the name.
    ("", "") where none is known.
    """
    of = licenses(source)
    words = list(dict.fromkeys(name.lower() for name in [*of["weights"], *of["data"]]))
    if not words or words == [_UNKNOWN]:
        return "", ""
    if len(words) == 1 and _HUB_LICENSES.fullmatch(words[0]):
        return words[0], ""
    parts = [f"{'-'.join(map(_slug, names))}-{part}" for part, names in of.items() if names]
    return "other", "-".join(parts)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _body(facts: Facts) -> Iterator[str]:
    source = facts.source
    yield from (f"# {source.name}", "", *_opening(facts), "")
    if mark := source.config.get("data_mark"):
        yield from (f"**{mark}.** The numbers below are no findings about real data.", "")
    if source.has_language_vectors:
        yield from (*_language_vectors(), "")
    yield from ("## Use", *_use(facts), "")
    yield from ("## Results", *card_results.results(source, facts.scores, facts.before), "")
    if facts.scores:
        yield from card_results.language_bias(facts.scores, facts.before)
    if facts.onnx:
        yield from ("## ONNX", *_onnx(facts), "")
    yield from ("## How it was made", *_made(source), "")
    if source.run.trained:
        yield from ("## Training data", *training_data(source.training), "")
    yield from ("## Intended use and limits", *_limits(facts), "")
    yield from ("## Licences", *_licences(source))


def _opening(facts: Facts) -> Iterator[str]:
    source = facts.source
    languages = source.training.get("languages", [])
    among = f"{len(languages)} language{'s' * (len(languages) > 1)} ({', '.join(languages)})"
    length = "of any length" if facts.max_tokens is None else f"of up to {facts.max_tokens} tokens"
    shape = f"vectors of {facts.dim} dimensions and length 1, texts {length}"
    if not source.run.trained:
        yield f"The encoder {encoder_of(source)} as it comes, before any training by Polybatch: {shape}."
        return
    yield (
        f"A retriever for {among}: one model embeds queries and passages for cosine similarity, {shape}. Made with "
        f"Polybatch from {encoder_of(source)}."
    )


def encoder_of(source: Source) -> str:
    """The encoder in words: origin, checksum or revision, licence."""
    record = {"encoder": source.run.encoder, "encoder_record": source.encoder}
    return encoder_words(record)


def _language_vectors() -> Iterator[str]:
    yield (
        f"**This model is whole only with `{LANGUAGE_VECTORS}`, and the language of every text must be known.** The "
        "scores below were made with these vectors taken off the embeddings. `SentenceTransformer.encode` and the ONNX "
        "files do not do that by themselves: their vectors are other ones."
    )
    yield from (
        "",
        "```python",
        "import numpy as np",
        "from safetensors.numpy import load_file",
        "",
        f'of_language = load_file("path/to/this/folder/{LANGUAGE_VECTORS}")',
        "",
        'def cured(vectors, lang, side):  # of length 1, in one language; side: "queries" or "corpus"',
        '    found = vectors - of_language.get(f"{side}.{lang}", of_language.get(f"{side}.other", 0))',
        "    return found / np.linalg.norm(found, axis=1, keepdims=True)",
        "```",
    )


def _use(facts: Facts) -> Iterator[str]:
    truncate = facts.source.encoding.get("truncate_dim")
    options = f", truncate_dim={truncate}" if truncate else ""
    prompt = {
        name: f'prompt_name="{name}"' if facts.own_prompts else f"prompt={facts.prompts[name]!r}"
        for name in ("query", "passage")
    }
    yield from (
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("path/to/this/folder"{options})',
        f'queries = model.encode(["..."], {prompt["query"]}, normalize_embeddings=True)',
        f'passages = model.encode(["..."], {prompt["passage"]}, normalize_embeddings=True)',
        "scores = queries @ passages.T",
        "```",
    )
    told = ", ".join(f"`{text}`" if text else "none" for text in (facts.prompts["query"], facts.prompts["passage"]))
    yield from ("", f"Prompts of queries and of passages: {told}. Texts need them: without, scores are lower.")


def _onnx(facts: Facts) -> Iterator[str]:
    yield from (
        "The whole model, pooling and normalisation too: inputs `input_ids` and `attention_mask`, output "
        "`sentence_embedding`. Cosines with the vectors of the model itself, on texts of the benchmark:",
        "",
        "| file | MB | texts | mean cosine | 5th percentile | lowest |",
        "|---|---|---|---|---|---|",
    )
    for name, file in facts.onnx["files"].items():
        found = file.get("cosines")
        values = [found[key] for key in ("texts", "mean", "p05", "min")] if found else ["not measured"] * 4
        yield f"| `{name}` | {file['bytes'] / 1e6:.0f} | {' | '.join(map(str, values))} |"
    yield from card_results.onnx_scores(facts.onnx, facts.scores)
    yield from (
        "",
        "```python",
        *(["import numpy as np"] if facts.source.encoding.get("truncate_dim") else []),
        "import onnxruntime",
        "from transformers import AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        'session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")',
        f"queries = [{json.dumps(facts.prompts['query'], ensure_ascii=False)} + text for text in texts]",
        "tokens = tokenizer(queries, padding=True, truncation=True, "
        f'max_length={facts.max_tokens}, return_tensors="np")',
        'inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}',
        'vectors = session.run(["sentence_embedding"], inputs)[0]',
        *_truncated(facts),
        "```",
    )


def _truncated(facts: Facts) -> Iterator[str]:
    """The lines that cut vectors as the study did; a graph gives the whole ones."""
    if dim := facts.source.encoding.get("truncate_dim"):
        yield f"vectors = vectors[:, :{dim}]"
        yield "vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)"


def _made(source: Source) -> Iterator[str]:
    rows = {"made by": f"Polybatch {__version__}", "study": source.study, "run": f"`{source.run.name}`"}
    if source.config:
        rows["tables"] = f"{source.version['version']}, fingerprint `{source.version['fingerprint']}`"
        rows["configuration, SHA-256"] = f"`{source.config_digest}`"
    else:
        rows["configuration"] = "not known: the study had no tables when this was exported"
    yield from ("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()))
    if source.run.trained:
        yield from how_trained(source.training)[2:]
    for name, record in source.changes.items():
        yield from ("", f"Changed without a training, by `{name}`:", "", "| | |", "|---|---|")
        yield from (f"| {key} | {value} |" for key, value in record.items() if isinstance(value, str | int | float))
    if note := (source.encoder.get("wheel") or {}).get("note"):
        yield from (
            "",
            f"The encoder's weights were rounded to 4 bits before this training, which is not undone. {note}",
        )
    yield from ("", "`training.json` holds every option of the training, `export.json` what this folder was made from.")


def _limits(facts: Facts) -> Iterator[str]:
    source = facts.source
    yield "- For search: queries and passages, in one language or across languages. Not for judging what a text says."
    trained = source.training.get("languages", [])
    if trained:
        yield f"- Trained on {', '.join(trained)}. Other languages work as far as the encoder knew them."
    names = source.training.get("pairs_per_source", {})
    if names:
        yield f"- The training text is {', '.join(names)}: other kinds of text were not trained on."
    machine = sum(source.training.get("machine_translated_per_language", {}).values())
    if machine:
        yield f"- {machine} of the training texts' translations are machine translations; their faults may be learned."
    seeds = "one training with one seed" if source.run.trained else "one encoder"
    yield f"- The numbers are of {seeds}, on the study's own benchmarks. A difference of a point may be chance."
    if facts.max_tokens is not None:
        yield f"- Texts beyond {facts.max_tokens} tokens are cut off."
    if facts.scores:
        yield "- Language bias was measured, not removed: see above before one pool of several languages is searched."


def _licences(source: Source) -> Iterator[str]:
    of = licenses(source)
    yield f"- Encoder: {', '.join(of['weights']) or 'made from scratch, no weights of others'}."
    if source.run.trained:
        yield f"- Training text: {', '.join(of['data']) or _UNKNOWN}."
    if any("nc" in re.split(r"[^a-z]+", name.lower()) for names in of.values() for name in names):
        yield "- One of these does not allow commercial use."
    yield "- What follows for these weights is for their user to judge; the head names all licences that are known."
