"""The scores of one run, averaged as the study's tables average them, for a card and for records.

inputs: scores/<run>/<benchmark>.parquet (contracts.SCORES)
outputs: `Scores`: means over a setting's cells, and the values of each cell
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.config.grid import Run
from polybatch.core.contracts import SETTINGS
from polybatch.export.source import Source
from polybatch.retrieval.metrics import RANK_DISTANCE, is_bias_metric, is_share
from polybatch.tables.options import TableOptions
from polybatch.tables.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

# Beside the headline, in this order, as far as they were measured.
_MAIN = ("map", "ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100")


@dataclass(frozen=True)
class Scores:
    """The scores of one run on some benchmarks.

    Attributes:
        cells: Rows of contracts.SCORES without the grid's columns.
        means: (benchmark, setting, metric) -> the mean over the setting's cells; not where one is missing.
        headline: The study's main metric.
    """

    cells: pd.DataFrame
    means: Mapping[tuple[str, str, str], float]
    headline: str

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that have scores."""
        return list(dict.fromkeys(self.cells["benchmark"]))

    def settings(self, benchmark: str) -> list[str]:
        """The settings that a benchmark was scored in."""
        mine = set(self.cells["setting"][self.cells["benchmark"] == benchmark])
        return [setting for setting in SETTINGS if setting in mine]

    def main_metrics(self, benchmark: str, setting: str) -> list[str]:
        """The metrics of retrieval that a card shows: the headline first; in the pool the rank distance last."""
        wanted = dict.fromkeys([self.headline, *_MAIN, *([RANK_DISTANCE] if setting == "multilingual" else [])])
        return [metric for metric in wanted if (benchmark, setting, metric) in self.means]

    def bias_metrics(self, benchmark: str) -> list[str]:
        """The measures of language bias that were measured, without the shares of languages."""
        found = (metric for name, _, metric in self.means if name == benchmark)
        return [metric for metric in dict.fromkeys(found) if is_bias_metric(metric) and not is_share(metric)]

    def of(self, benchmark: str, setting: str, metric: str) -> dict[tuple[str, str], float]:
        """(query_lang, corpus_lang) -> value of a setting's cells."""
        frame = self.cells
        part = frame[(frame["benchmark"] == benchmark) & (frame["setting"] == setting) & (frame["metric"] == metric)]
        return dict(zip(zip(part["query_lang"], part["corpus_lang"], strict=True), part["value"], strict=True))

    def main(self, benchmark: str) -> dict[str, dict[str, float]]:
        """Setting -> metric -> mean, of the metrics that a card shows."""
        return {
            setting: {
                metric: self.means[benchmark, setting, metric] for metric in self.main_metrics(benchmark, setting)
            }
            for setting in self.settings(benchmark)
        }


def read(source: Source, run: Run | None = None, without: Collection[str] = ()) -> Scores | None:
    """The scores of a run on its study's benchmarks; None where it has none.

    Args:
        source: The study.
        run: Whose; that of the source by default.
        without: Benchmarks that are passed over.

    Raises:
        DataError: A file is damaged.
    """
    name = (run or source.run).name
    paths = [Path(source.paths.scores(name, benchmark)) for benchmark in source.benchmarks if benchmark not in without]
    return read_files([path for path in paths if path.is_file()], source.config)


def read_files(files: Sequence[Path], config: Mapping[str, Any]) -> Scores | None:
    """The scores in some files of one run; None where there is no file.

    Args:
        files: contracts.SCORES.
        config: The resolved configuration, for the headline and the languages that averages leave out; it may be empty.
    """
    if not files:
        return None
    options = TableOptions.from_values(config["tables"]) if config else TableOptions()
    summary = summarise(files, options.leave_out)
    means = {(row.benchmark, row.setting, row.metric): row.value for row in _whole(summary.macro)}
    return Scores(summary.scores.drop(columns="arm"), means, options.headline)


def _whole(macro: pd.DataFrame) -> Iterable[Any]:
    return macro.dropna(subset=["value"]).itertuples(index=False)
