"""What a study found, for a reader who knows nothing of it yet: one table a benchmark, and the sentences beneath it.

inputs: a `View` of one benchmark's scores and their per-group values
outputs: a `Table`: findings

Every row is a model, named in words. The first row of an encoder is the encoder without this study's training; the
others are compared with it, whatever the study's reference is. The sentences tell numbers and whether a difference is
more than the choice of queries explains. They do not say whether a change is good, nor what caused it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from polybatch.retrieval.metrics import OWN_FIRST, RANK_DISTANCE
from polybatch.tables.cures import cure_words
from polybatch.tables.forms.table import Cell, Column, Table, format_number, mark_best, text_column
from polybatch.tables.scores import DEFAULT_REFERENCE, Comparison, View, compare_with_reference
from polybatch.tables.significance import LEVEL
from polybatch.tables.summary import UNTRAINED, Arm, better, mean_and_spread, metric_label, missing_notes

if TYPE_CHECKING:
    import pandas as pd

_WITHIN, _ACROSS, _POOL = "Within a language", "Across languages", "In the mixed pool"
_SAMPLINGS = {
    "en-en": "trained on English alone (en-en)",
    "x-x": "trained within languages, mixed batches (x-x)",
    "x-x-mono": "trained within languages (x-x-mono)",
    "x-y": "trained across languages (x-y)",
}
# Sentences tell of this many encoders; the table has them all.
_TOLD_ENCODERS = 2
Key = tuple[str, str]


class Before(NamedTuple):
    """An encoder as it comes, and the arm that stands for the study: a trained one, unless there is none."""

    before: Arm
    after: Arm


def model_words(view: View, arm: Arm) -> str:
    """An arm in words, with whatever else the study varies: "trained across languages (x-y), 1000 pairs"."""
    varying = view.summary.varying
    words = [untrained_words(view, arm.encoder) if arm.sampling == UNTRAINED else _training_words(arm)]
    words += cure_words(*arm[-4:])
    if arm.sampling != UNTRAINED:
        words += [f"{arm.num_pairs} pairs"] if "num_pairs" in varying else []
        words += [f"{arm.num_translated} translated"] if "num_translated" in varying and arm.num_translated else []
        words += [arm.languages] if "languages" in varying else []
    return (f"{arm.encoder}: " if "encoder" in varying else "") + ", ".join(words)


def untrained_words(view: View, encoder: str) -> str:
    """ "as it comes", or "before training" of an encoder that starts from random weights."""
    return "before training" if encoder in view.scratch else "as it comes"


def _training_words(arm: Arm) -> str:
    if arm.sampling == "hybrid":
        alpha = (arm.alpha or "").replace("to", " to ")
        return f"trained within and across (hybrid, alpha {alpha})"
    return _SAMPLINGS.get(arm.sampling, arm.sampling)


def before_and_after(view: View) -> list[Before]:
    """For every encoder scored untrained: that arm, and the arm that pictures and sentences tell of.

    That arm is the study's reference if it is another one, else the default reference, else the last of the table that
    was trained and no more, else of those that were trained, else of those that were projected; of several that differ
    in pairs or languages, the last.
    """
    found = []
    for before in (arm for arm in view.arms if arm.as_it_comes):
        others = [arm for arm in view.arms if arm.encoder == before.encoder and arm != before]
        trained = [arm for arm in others if arm.sampling != UNTRAINED]
        named = [[a for a in others if a.sampling_label == name] for name in (view.reference, DEFAULT_REFERENCE)]
        choice = next(filter(None, [*named, [arm for arm in trained if arm.plain], trained, others]), [])
        found += [Before(before, choice[-1])] if choice else []
    return found


def finding_columns(view: View) -> list[Key]:
    """(setting, metric) of the table, those without scores left out."""
    known = {(setting, metric) for _, setting, metric in view.macro()}
    wanted = [(setting, view.headline) for setting in ("monolingual", "cross_lingual", "multilingual")]
    wanted += [("multilingual", RANK_DISTANCE), ("multilingual", OWN_FIRST)]
    return [key for key in dict.fromkeys(wanted) if key in known]


def findings_table(view: View, groups: pd.DataFrame) -> Table:
    """One row a model: within a language, across languages, and in the pool of all languages' passages.

    Args:
        view: The benchmark's scores.
        groups: As of `significance.arm_groups`.
    """
    columns, macro = finding_columns(view), view.macro()
    floor = any(arm.as_it_comes for arm in view.arms)
    against = replace(view, reference=UNTRAINED if floor else view.reference)
    comparisons = {
        (c.arm, c.setting, c.metric): c for c in compare_with_reference(against, groups, columns) if c.p is not None
    }
    means = {(arm, *key): mean_and_spread(macro.get((arm, *key), []))[0] for arm in view.arms for key in columns}
    rows = [
        [Cell(model_words(view, arm)), *(_cell(arm, key, means, comparisons.get((arm, *key))) for key in columns)]
        for arm in view.arms
    ]
    table = Table(
        name=f"findings-{view.benchmark}",
        title=f"What came out on {view.benchmark}",
        caption=" ".join(sentences(view, means, comparisons)) or "There is no model beside one that is as it comes.",
        columns=[text_column("model", "model"), *map(_column, columns)],
        rows=rows,
        notes=[*view.notes, *_notes(against, columns, list(comparisons.values())), *_gaps(view)],
        data_mark=view.data_mark,
    )
    return mark_best(table)


def _gaps(view: View) -> list[str]:
    missing = missing_notes(view.summary, view.benchmark)
    return [f"Scores are missing: the notes of main-{view.benchmark} say which."] if missing else []


def _cell(arm: Arm, key: Key, means: Mapping[tuple, float | None], comparison: Comparison | None) -> Cell:
    mean = means[arm, *key]
    if comparison is None:
        return Cell(mean)
    other = means[comparison.reference, *key]
    difference = None if mean is None or other is None else mean - other
    return Cell(mean, p=comparison.p, mark=comparison.mark, difference=difference)


def _column(key: Key) -> Column:
    setting, metric = key
    group = {"monolingual": _WITHIN, "cross_lingual": _ACROSS, "multilingual": _POOL}[setting]
    share = metric == OWN_FIRST
    places = 0 if share or metric == RANK_DISTANCE else 3
    label = metric_label(metric)
    return Column(f"{setting}.{metric}", label, group, digits=places, percent=share, better=better(metric))


def _notes(against: View, columns: Sequence[Key], comparisons: Sequence[Comparison]) -> list[str]:
    metric = metric_label(against.headline)
    meant = {
        (
            "monolingual",
            against.headline,
        ): f"{_WITHIN} (monolingual): {metric} of searching the passages of the query's language, mean over languages.",
        (
            "cross_lingual",
            against.headline,
        ): f"{_ACROSS} (cross-lingual): {metric} of searching the passages of another "
        "language, mean over pairs of languages.",
        ("multilingual", against.headline): f"{_POOL} (multilingual): {metric} of searching the passages of all "
        "languages at once; each translation of a right passage is right.",
        (
            "multilingual",
            RANK_DISTANCE,
        ): "Rank distance: how many ranks a query's best and worst placed right passages, "
        "which are translations of one another, stand apart.",
        ("multilingual", OWN_FIRST): "Own language first: share of queries whose best placed right passage is in the "
        "query's own language; neither end is better in itself.",
    }
    notes = [words for key, words in meant.items() if key in columns]
    notes.append(f"Means over seeds: the table main-{against.benchmark} has their deviations, and more metrics.")
    if not comparisons:
        return [*notes, "No significance is marked: there is nothing to compare with on the same queries."]
    references = dict.fromkeys(c.reference for c in comparisons)
    name = (
        untrained_words(against, next(iter(references)).encoder)
        if against.reference == UNTRAINED
        else against.reference
    )
    sizes = [c.test.groups for c in comparisons]
    size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return [
        *notes,
        f'Behind a value: its difference to "{name}", of shares in percentage points. ▲ significantly better, ▼ '
        f"significantly worse, ◆ significantly different where neither end is better, no mark: not significant (p < "
        f"{LEVEL:g}; two-sided paired t-test over {size} query groups, Holm's correction over {len(comparisons)} "
        "comparisons). The test speaks about other queries, not about other trainings.",
    ]


def sentences(view: View, means: Mapping[tuple, float | None], comparisons: Mapping[tuple, Comparison]) -> list[str]:
    """What changed from an encoder as it comes to the trained arm that stands for the study, in two sentences each."""
    pairs = before_and_after(view)
    told = []
    for pair in pairs[:_TOLD_ENCODERS]:
        told += _encoder_sentences(view, pair, means, comparisons)
    rest = len(pairs) - _TOLD_ENCODERS
    return told + ([f"Further encoders in the table: {rest}."] if rest > 0 else [])


def _encoder_sentences(
    view: View, pair: Before, means: Mapping[tuple, float | None], comparisons: Mapping[tuple, Comparison]
) -> list[str]:
    def change(key: Key) -> tuple[str, str, str] | None:
        """Both values and whether they differ significantly, as words; None where one is missing."""
        values = [means.get((arm, *key)) for arm in pair]
        if None in values:
            return None
        before, after = (format_number(value, _column(key)) for value in values if value is not None)
        return before, after, _verdict(comparisons.get((pair.after, *key)))

    name = f"{pair.before.encoder}: " if "encoder" in view.summary.varying else ""
    start = f"{name}{untrained_words(view, pair.before.encoder)}"
    start = start[0].upper() + start[1:] if not name else start
    told = []
    if own := change(("multilingual", OWN_FIRST)):
        told.append(
            f"{start}, the best placed right passage was in the query's own language for {own[0]} of queries; "
            f"{_after(view, pair.after)}, for {own[1]} ({own[2]})."
        )
    metric = metric_label(view.headline)
    places = {
        "monolingual": "within a language",
        "cross_lingual": "across languages",
        "multilingual": "in the mixed pool",
    }
    moved = [
        f"{words} from {found[0]} to {found[1]} ({found[2]})"
        for setting, words in places.items()
        if (found := change((setting, view.headline)))
    ]
    if moved:
        who = "" if told else f"{start}, and {_after(view, pair.after)}: "
        told.append(f"{who}{metric} moved {_listed(moved)}.")
    if distance := change(("multilingual", RANK_DISTANCE)):
        told.append(
            f"A query's best and worst placed right passages stood {distance[0]} ranks apart before and "
            f"{distance[1]} after ({distance[2]})."
        )
    return told


def _after(view: View, arm: Arm) -> str:
    more = cure_words(*arm[-4:])
    if arm.sampling == UNTRAINED:
        return f"with {_listed(more)}"
    steps = view.steps.get(f"{arm.encoder}/{arm.training}")
    taken = f"{steps:,} steps of training" if steps else "training"
    words = {"hybrid": f"with hybrid batches (alpha {arm.alpha})", "en-en": "on English alone (en-en)"}
    told = [f"after {taken} {words.get(arm.sampling, f'with {arm.sampling} batches')}", *more]
    return ", ".join(told)


def _verdict(comparison: Comparison | None) -> str:
    if comparison is None or comparison.p is None:
        return "not tested"
    return "significant" if comparison.p < LEVEL else "not significant"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
