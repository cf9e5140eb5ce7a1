"""The options of indexes and of scoring."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import AfterValidator, Field

from polybatch.core.contracts import SETTINGS, Setting
from polybatch.core.option_types import DISTINCT, Said
from polybatch.core.options import Conflict, Options, option
from polybatch.retrieval.metrics import FULL_RANKING, METRICS, metric_fault

EXACT = "Flat"


def _known_metric(name: str) -> str:
    if fault := metric_fault(name):
        raise ValueError(fault)
    return name


Metric = Annotated[str, AfterValidator(_known_metric), Said("a metric", "metrics")]
Metrics = Annotated[list[Metric], DISTINCT, Field(min_length=1)]
Settings = Annotated[list[Setting], DISTINCT, Field(min_length=1)]
# Lengths of embeddings that a factory string is tried on: some parts of it must divide the length.
_DIMENSIONS = (768, 384, 1024, 256, 512, 640, 720, 64)


class IndexOptions(Options):
    """How an index is built (`index` in the configuration)."""

    build_parameters: str = option(
        "", "FAISS parameters set before vectors are added, such as `efConstruction=200`.", otherwise="empty"
    )
    threads: int = option(
        1,
        "While building, and at most those that the job gets. With more than one, a graph index (HNSW) may differ from "
        "run to run.",
        ge=1,
    )


class ScoreOptions(Options):
    """What is measured, and how deep is searched (`scoring` in the configuration).

    The paper's mAP is over the full ranking, for which the vectors have to fit into memory. With a number as `depth`
    they pass by in blocks, if the index is a Flat one; with another index, FAISS decides which of several passages of
    equal score stand at the cut.
    """

    settings: Settings = option(
        list(SETTINGS), "What is computed.", otherwise="those that the benchmark's languages allow"
    )
    metrics: Metrics = option(
        list(METRICS), "[retrieval.md](retrieval.md#metrics) says what they mean.", otherwise="below"
    )
    depth: Literal["all"] | Annotated[int, Ge(1)] = option(
        "all",
        "Passages in a ranked list. In the multilingual setting `rank_distance`, `last_relevant_rank` and "
        "`own_language_first` need `all`; with a number, name the metrics without them.",
    )
    top_k: int = option(100, "Passages of each list kept in the run file.", ge=1)
    block: int = option(
        128, "Queries at a time; memory grows with it. At least 1024 are taken where `depth` is a number.", ge=1
    )
    search_parameters: str = option("", "FAISS parameters of a search, such as `nprobe=16`.", otherwise="empty")

    def conflicts(self) -> Iterator[Conflict]:
        deep = [name for name in FULL_RANKING if name in self.metrics]
        if self.depth != "all" and deep and "multilingual" in self.settings:
            yield Conflict(
                ("depth", "metrics", "settings"),
                f'{" and ".join(deep)} needs depth "all": with depth {self.depth}, name the metrics without it',
            )


def index_fault(factory: str, parameters: str = "") -> str:
    """What FAISS says against an index of this factory string with these parameters, "" if nothing.

    Where FAISS is not installed, as where the stages have environments of their own, the stage asks it.
    """
    if nothing := re.search(r"[A-Za-z_]0+(?![\d.])", factory):
        return f"a part of it has the size 0, at character {nothing.start() + 2}"
    if (factory == EXACT and not parameters) or importlib.util.find_spec("faiss") is None:
        return ""
    import faiss

    reason = ""
    for dim in _DIMENSIONS:
        try:
            index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
            if parameters:
                faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            # Its message ends with the reason, after the C++ place.
            reason = reason or str(error).rpartition(": ")[2].strip() or str(error)
        else:
            return ""
    return reason
