"""Which evaluation sets the makers of pretrained encoders say that they trained on.

inputs: the study's encoders by name with their models on the hub, and its benchmarks
outputs: decontamination/exposure.json: for each encoder and benchmark a status and what it rests on

| status              | meaning                                                                                     |
|---------------------|---------------------------------------------------------------------------------------------|
| `declared`          | the training data is said to hold the set, a version of it, or what it was made from          |
| `not declared`      | the training data is listed, and nothing of the sort is in the list; no proof of absence      |
| `unknown`           | nobody says, or it is not known which published set the benchmark is                           |
| `own held-out text` | the benchmark is held out from the study's own source, so that no published set is in question |

The lists are the metadata of the mteb package (Muennighoff et al., arXiv 2210.07316; Enevoldsen et al., arXiv
2502.13595): an encoder's training data, that of the model which it was adapted from, and which tasks are versions of
one another. mteb is imported only if some encoder is a model of the hub.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import catalogue
from polybatch.core import stage
from polybatch.core.files import write_json
from polybatch.decontaminate.statuses import DECLARED, NOT_DECLARED, OWN, UNKNOWN

_SHOWN = 5  # names in one line of evidence

# Sets that an evaluation set was made from, or names of it that are not mteb's. XQuAD is of SQuAD 1.1's development
# part (Artetxe et al. 2020, arXiv 1910.11856); MIRACL's queries are partly Mr. TyDi's (Zhang et al. 2023, section 3);
# MKQA's are of Natural Questions (Longpre et al. 2021, arXiv 2007.15207); Belebele's passages are of FLORES-200
# (Bandarkar et al. 2024, arXiv 2308.16884); Quora's duplicate questions are GLUE's QQP.
_ORIGINS: dict[str, tuple[str, ...]] = {
    "XQuADRetrieval": ("XQuAD", "SQuAD", "squad_v2", "Squad2"),
    "MLQARetrieval": ("MLQA",),
    "MIRACLRetrieval": ("MIRACL", "MrTidyRetrieval", "MrTyDi", "mr-tydi"),
    "MKQARetrieval": ("MKQA", "NQ", "NaturalQuestions"),
    "BelebeleRetrieval": ("Belebele", "FloresBitextMining"),
    "QuoraRetrieval": ("QQP", "quora-question-pairs", "QuoraDuplicateQuestions"),
    "NQ": ("NaturalQuestions",),
}
# What makers declare elsewhere and mteb leaves out because it is no task of its own.
_SAID_ELSEWHERE: dict[str, dict[str, str]] = {
    "BAAI/bge-m3": {"SQuAD": "README of huggingface.co/datasets/Shitao/bge-m3-data"},
}


@dataclass(frozen=True)
class Training:
    """What is said about an encoder's training data.

    Attributes:
        listed: Name of a data set -> who says so.
        is_known: Whether anybody lists the data, so that a name's absence means something.
        remark: What the list leaves open.
    """

    listed: Mapping[str, str]
    is_known: bool
    remark: str = ""


def exposure(encoders: Mapping[str, Mapping[str, Any]], benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The status of every encoder on every benchmark.

    Args:
        encoders: name -> {"model": id on the hub, or null}.
        benchmarks: name -> {"adapter", "task", "queries_of"}, those of them that the config gives.

    Returns:
        {"mteb": version or null, "exposure": [{"encoder", "model", "benchmark", "task", "status", "evidence"}]}, in the
        order given; `task` is mteb's name of the set, null where none is known.
    """
    known = catalogue()["benchmarks"]
    sets = {name: _task(name, benchmarks, known) for name in benchmarks}
    wanted = any(entry.get("model") for entry in encoders.values()) and any(task for task, _ in sets.values())
    rows = []
    for encoder, entry in encoders.items():
        model = entry.get("model")
        training = _training(model) if model and wanted else Training({}, False, "no model of the hub")
        for name, (task, source) in sets.items():
            status, evidence = _judged(training, task, source)
            rows.append({"encoder": encoder, "model": model, "benchmark": name, "task": task})
            rows[-1].update(status=status, evidence=evidence)
    return {"mteb": _version() if wanted else None, "exposure": rows}


def _task(
    name: str, benchmarks: Mapping[str, Mapping[str, Any]], catalogue: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, str]:
    """(mteb's name of the published set that a benchmark is, or None; where its text is from)."""
    entry = benchmarks.get(name) or catalogue.get(name) or {}
    original = entry.get("queries_of")
    if original:
        task, source = _task(original, benchmarks, catalogue)
        return (task, f"its queries are translations of {original}") if task else (None, source)
    adapter, task = entry.get("adapter"), entry.get("task") or catalogue.get(name, {}).get("task")
    if adapter is None:
        return None, OWN if name in benchmarks else f"{name} is not in the catalogue"
    if adapter == "mlqa" or (adapter == "lareqa" and "mlqa" in name.lower()):
        return "MLQARetrieval", "LAReQA, made from MLQA"
    if adapter == "lareqa" and "xquad" in name.lower():
        return "XQuADRetrieval", "LAReQA, made from XQuAD"
    return (task, "") if task else (None, "its name is no published set's")


def _judged(training: Training, task: str | None, source: str) -> tuple[str, str]:
    """(status, evidence)."""
    if source == OWN:
        return OWN, "not a published set"
    if task is None:
        return UNKNOWN, source
    alike = _names(task) if training.listed else ()
    found = [f"{name} ({said})" for name, said in sorted(training.listed.items()) if name.casefold() in alike]
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return DECLARED, _joined(", ".join([*found[:_SHOWN], *more]), source)
    if not training.is_known:
        return UNKNOWN, training.remark
    listed = f"none of {len(training.listed)} listed sets" if training.listed else "mteb lists none of its tasks' sets"
    return NOT_DECLARED, _joined(listed, source, training.remark)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


@functools.cache
def _names(task: str) -> frozenset[str]:
    """A task, those that mteb counts as versions of it (translations, samples, hard negatives) and what they were
    made from; case folded."""
    from mteb.models.model_meta import ModelMeta

    alone = ModelMeta.create_empty({"name": "polybatch/none", "training_datasets": {task}})
    versions = {task} | (alone.get_training_datasets() or set())
    origins = {origin for version in versions for origin in _ORIGINS.get(version, ())}
    return frozenset(name.casefold() for name in versions | origins)


def _training(model: str) -> Training:
    """What mteb, and `_SAID_ELSEWHERE`, say about a model of the hub and those that it was adapted from."""
    with stage.importing():
        import mteb

    listed = dict(_SAID_ELSEWHERE.get(model, {}))
    seen: list[str] = []
    name: str | None = model
    while name and name not in seen:
        of = "" if name == model else f" of {name}, which it was adapted from"
        try:
            meta = mteb.get_model_meta(name, fetch_from_hf=False)
        except (KeyError, ValueError):
            return Training(listed, bool(seen), f"mteb does not know the training data{of}: the model is not in it")
        if meta.training_datasets is None:
            return Training(listed, bool(seen), f"mteb does not know the training data{of}")
        for data_set in meta.training_datasets:
            listed.setdefault(data_set, "mteb" if name == model else f"mteb, of {name}")
        seen.append(name)
        name = meta.adapted_from
    return Training(listed, True)


def _version() -> str:
    from importlib.metadata import version

    return version("mteb")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.decontaminate.exposure", description=__doc__.split("\n")[0])
    parser.add_argument("--encoders", required=True, type=json.loads, help='{name: {"model": id or null}}, as JSON')
    parser.add_argument(
        "--benchmarks", required=True, type=json.loads, help="{name: {adapter, task, queries_of}}, as JSON"
    )
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    record = exposure(args.encoders, args.benchmarks)
    write_json(args.output, record)
    declared = sum(row["status"] == DECLARED for row in record["exposure"])
    stage.log.info("%d of %d pairs of encoder and benchmark are declared", declared, len(record["exposure"]))


if __name__ == "__main__":
    stage.run(main)
