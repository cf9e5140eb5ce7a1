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
from polybatch.retrieval.metrics import FULL_RANKING, METRICS, cut_off, is_bias_metric, metric_fault

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
# Of so many vectors an index is tried: graphs ask for more than their degree.
_TRIED_ROWS = 256
_FAISS_ERRORS = (RuntimeError, ValueError, TypeError, MemoryError)


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
        "`own_language_first` need `all`; with a number, name the metrics without them, and none with a greater "
        "cut-off. `map` is then that of the cut list.",
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
        beyond = [] if self.depth == "all" else [name for name in self._scored() if cut_off(name) > self.depth]
        if beyond:
            yield Conflict(
                ("depth", "metrics"),
                f"{' and '.join(beyond)} would look at the first {self.depth} passages alone, with depth {self.depth}: "
                f"raise it to {max(map(cut_off, beyond))}, or name the metrics without",
            )

    def _scored(self) -> list[str]:
        """The metrics that one of the settings has."""
        return [name for name in self.metrics if "multilingual" in self.settings or not is_bias_metric(name)]


def index_fault(factory: str, parameters: str = "") -> str:
    """What FAISS says against an index of this factory string with these parameters, "" if nothing.

    It is tried on a few vectors, which takes some milliseconds. Where FAISS is not installed, as where the stages have
    environments of their own, the stage asks it.
    """
    if nothing := re.search(r"[A-Za-z_]0+(?![\d.])", factory):
        return f"a part of it has the size 0, at character {nothing.start() + 2}"
    if re.search(r"HNSW1(?!\d)", factory):  # FAISS would end the process
        return "a node of HNSW has at least 2 neighbours: HNSW32, say"
    if (factory == EXACT and not parameters) or importlib.util.find_spec("faiss") is None:
        return ""
    import faiss

    reason = ""
    for dim in _DIMENSIONS:
        try:
            index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
            if parameters:
                faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]
        except _FAISS_ERRORS as error:
            reason = reason or faiss_reason(error)
        else:
            return _use_fault(factory, parameters)
    return reason


def faiss_reason(error: Exception) -> str:
    """What FAISS says, without the C++ place that its message begins with."""
    return str(error).rpartition(": ")[2].strip() or str(error)


def _use_fault(factory: str, parameters: str) -> str:
    """What FAISS says when a few vectors are added to such an index and looked for in it, "" if nothing.

    Codes of vectors (PQ, OPQ, ...) take up to minutes to train. An index of lists is tried with one list of whole
    vectors, which takes milliseconds; another one that has to be trained is not tried. Nor is a graph that FAISS builds
    from nearest neighbours: of few vectors it never ends.
    """
    if re.search(r"NSG|NND", factory):
        return ""
    import faiss
    import numpy as np

    tried = re.sub(r"(IDMap2?,)?.*?IVF\d+([^,]*),.*", r"\1IVF1\2,Flat", factory)
    vectors = np.random.default_rng(0).standard_normal((_TRIED_ROWS, min(_DIMENSIONS)), np.float32)
    try:
        index = faiss.index_factory(vectors.shape[1], tried, faiss.METRIC_INNER_PRODUCT)
        if parameters:
            faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]
        if not index.is_trained and "IVF1" in tried:
            index.train(vectors)
    except _FAISS_ERRORS:
        return ""  # of parts, or parameters of parts, that are left out here or need longer vectors
    if not index.is_trained:
        return ""
    try:
        index.add(vectors)
        index.search(vectors[:1], 1)
    except _FAISS_ERRORS as error:
        return faiss_reason(error)
    return ""
