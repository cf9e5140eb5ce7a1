"""The page that puts a version's tables and figures together (README.md of the version's folder).

inputs: the manifest, the tables, the figures
outputs: markdown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybatch.tables.forms.table import Table, to_markdown
from polybatch.tables.names import DATA_TABLES, Figure
from polybatch.tables.options import TableOptions
from polybatch.tables.story import story_of, to_markdown_head
from polybatch.tables.summary import metric_label

_FIGURE_WORDS = {
    "trade_off": "Monolingual against cross-lingual score. Small marks are single seeds, large ones their means; up "
    "and to the right is better.",
    "language_pairs": "Score by query and corpus language, mean over seeds; the framed diagonal is the "
    "monolingual setting.",
    "by_alpha": "{metric} against alpha, the share of monolingual batches in hybrid. Small marks are single seeds, "
    "lines join their means; hollow marks are x-y (no monolingual batches), x-x-mono (nothing else), and alphas that "
    "change over the training.",
    "by_share": "{metric} against w, the share of the trained weights in a mixture with those before the training. "
    "Small marks are single seeds, lines join their means; 0 is before the training, 1 the trained model.",
    "by_num_pairs": "{metric} against the number of training pairs. Small marks are single seeds, lines join their "
    "means.",
    "by_num_translated": "{metric} against the number of machine-translated pairs of each language. Small marks are "
    "single seeds, lines join their means; en-en, which sees no translation, stands at 0.",
    "by_encoder": "{metric} against the number of the encoder's parameters. Small marks are single seeds, lines join "
    "the means of encoders of one family.",
    "language_share": "Shares of languages among the first passages of the pool, by query language.",
    "by_language": "Score by query language, mean over seeds with whiskers of one standard deviation.",
}

# Tables that the page names and does not show.
_LONG = ("cross_lingual", "language_share")


def front_page(manifest: Mapping[str, Any], tables: Sequence[Table], figures: Sequence[Figure]) -> str:
    """The whole page: what came out, then every table; score tables stand with the figures of their benchmark."""
    lines = [
        *to_markdown_head(story_of(manifest, tables, figures)),
        "## How this page goes on",
        "",
        *_origin(manifest),
        "",
    ]
    headline = TableOptions.from_values(dict(manifest["config"].get("tables") or {})).headline
    shown: set[str] = set()
    for table in tables:
        kind, _, benchmark = table.name.partition("-")
        if kind in ("averages", "findings"):  # in a file of its own, and above
            continue
        heading = _heading(kind, benchmark)
        if heading not in shown:
            shown.add(heading)
            lines += [f"## {heading}", ""]
        lines += [_without_rows(table) if kind in _LONG else to_markdown(table)]
        lines += _figures_after(kind, benchmark, figures, headline)
    return "\n".join(lines).rstrip() + "\n"


def _heading(kind: str, benchmark: str) -> str:
    if benchmark:
        return f"Benchmark {benchmark}"
    return "The training data" if kind in DATA_TABLES else "How the models were made"


def _without_rows(table: Table) -> str:
    """A long table as its heading and the place where it lies."""
    return f"### {table.title}\n\nThe table has {len(table.rows)} rows: [{table.name}.md]({table.name}.md).\n"


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    git = manifest["git"]
    commit = (
        f"commit `{git['commit'][:12]}`{' with uncommitted changes' if git['dirty'] else ''}"
        if git["commit"]
        else "no git commit"
    )
    seeds = ", ".join(map(str, manifest["seeds"])) or "none"
    return [
        "All tables and figures, benchmark by benchmark, then the training data and the making of the models. "
        f"Made {manifest['created']} from {commit}; fingerprint `{manifest['fingerprint'][:16]}`. Seeds: {seeds}. "
        "`summary.html` is the part above as one file; `manifest.json` holds the config, digests of code and data, and "
        "package versions; the csv files hold full precision; `averages-*` holds every metric; `scores.parquet` every "
        "score of every run.",
    ]


def _figures_after(kind: str, benchmark: str, figures: Sequence[Figure], headline: str) -> list[str]:
    """The figures that belong behind a table."""
    behind = {
        "main": ["trade_off", "by_alpha", "by_share", "by_num_pairs", "by_num_translated", "by_encoder"],
        "monolingual": ["by_language"],
        "cross_lingual": ["language_pairs"],
        "language_share": ["language_share"],
    }
    lines = []
    for figure in figures:
        if figure.kind in behind.get(kind, []) and figure.benchmark == benchmark:
            words = _FIGURE_WORDS[figure.kind].format(metric=metric_label(figure.metric or headline))
            lines += [f"![{words}]({figure.name}.svg)", "", f"*{words}*", ""]
    return lines
