"""The options of tables and figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from polybatch.core.contracts import Setting
from polybatch.core.option_types import DISTINCT, FilePath, LanguageCodes, Name, Said
from polybatch.core.options import Conflict, Options, option
from polybatch.retrieval.metrics import is_share
from polybatch.retrieval.options import Metric


class TableOptions(Options):
    """`tables` of a configuration: what the main table and the figures show."""

    headline: Metric = option(
        "map",
        "First column of each setting in the main table; the metric of the tables and figures by language. "
        "Every setting of every benchmark must be scored in it.",
    )
    figure_metrics: Annotated[list[Metric], DISTINCT] = option(
        [],
        "Metrics that the figures of trends (`by_alpha`, `by_share`, `by_num_pairs`, `by_num_translated`, "
        "`by_encoder`) are drawn for. A benchmark without scores of one has no figure of it; one that no benchmark has "
        "is a fault.",
        otherwise="the headline metric",
    )
    metrics: Annotated[dict[Setting, list[Metric]], Said("a mapping of settings to lists of metrics", "")] = option(
        {},
        "Further columns of the main table. Settings left out keep theirs; metrics without scores are left out.",
        otherwise="`map`, `recall@1`, `ndcg@10`, `token_f1` (monolingual, cross_lingual); `map`, `recall@10`, "
        "`ndcg@10`, `rank_distance` (multilingual)",
    )
    leave_out: Annotated[dict[Name, LanguageCodes], Said("a mapping of benchmarks to language codes", "")] = option(
        {}, "Languages that a benchmark's averages leave out. Their scores stay in the tables by language."
    )
    published: FilePath | Annotated[list[FilePath], Field(min_length=0)] = option(
        [],
        "Published scores to set beside ours: csv with the columns `source`, `encoder`, `sampling`, `benchmark`, "
        "`setting`, `metric`, `value` and, if wanted, `note`. Arms match by the encoder's name and the sampling; "
        "`hybrid` stands for `hybrid-a0.5`.",
        otherwise="none",
    )

    def conflicts(self) -> Iterator[Conflict]:
        for name in self.figure_metrics:
            if is_share(name):
                yield Conflict(("figure_metrics",), f"{name!r} has no average to draw")

    @property
    def drawn_metrics(self) -> list[str]:
        """The metrics of the figures of trends."""
        return list(self.figure_metrics) or [self.headline]

    @property
    def published_files(self) -> list[str]:
        """The csv files of published scores; [] if there are none."""
        return [self.published] if isinstance(self.published, str) else list(self.published)
