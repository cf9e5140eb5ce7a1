"""Whether ours stand in the order that was published: every pair of published rows, setting by setting.

inputs: published scores (published.py); a `View` of our scores and their per-group values
outputs: a `Table`: order

A number depends on data, steps and encoder; what a paper claims is an order, such as hybrid before x-y across
languages. An order can be held against a study with another encoder too.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.published import Published
from polybatch.tables.scores import View, arm_cells, arm_columns, constants, group_parts
from polybatch.tables.significance import LEVEL, PairedTest, holm, paired_test
from polybatch.tables.summary import (
    SETTING_LABELS,
    UNTRAINED,
    Arm,
    better,
    digits,
    mean_and_spread,
    metric_label,
    size_order,
)

if TYPE_CHECKING:
    import pandas as pd

AGREES, DIFFERS, OPEN, EQUAL, UNTESTED = "agrees", "differs", "not significant", "no order published", "not tested"


class Order(NamedTuple):
    """Two published values of one score: `first` is the sampling that they put first, of equals the earlier one."""

    source: str
    encoder: str
    setting: str
    metric: str
    first: str
    second: str
    values: tuple[float, float]


class Held(NamedTuple):
    """An order held against two of our arms; `p` is adjusted for all pairs of the table."""

    order: Order
    arms: tuple[Arm, Arm]
    test: PairedTest | None
    p: float | None

    @property
    def verdict(self) -> str:
        """What ours say to the order."""
        if self.order.values[0] == self.order.values[1]:
            return EQUAL
        if self.test is None or self.p is None:
            return UNTESTED
        if self.p >= LEVEL:
            return OPEN
        return AGREES if _first_leads(self.order.metric, self.test.difference) else DIFFERS


def ordered_benchmarks(published: Sequence[Published], labels: Collection[str]) -> set[str]:
    """The benchmarks of which two published rows are among a study's samplings (`labels`): each gets a table."""
    counts = Counter(
        (row.benchmark, row.source, row.encoder, row.setting, row.metric) for row in published if row.sampling in labels
    )
    return {key[0] for key, count in counts.items() if count > 1}


def orders_of(published: Sequence[Published], benchmark: str) -> list[Order]:
    """All pairs of a benchmark's published rows that share source, encoder, setting and metric."""
    scores: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for row in published:
        if row.benchmark == benchmark and better(row.metric):
            scores.setdefault((row.source, row.encoder, row.setting, row.metric), {})[row.sampling] = row.value
    found = []
    for key, values in scores.items():
        for a, b in itertools.combinations(values, 2):
            first, second = (a, b) if _first_leads(key[-1], values[a] - values[b]) or values[a] == values[b] else (b, a)
            found.append(Order(*key, first, second, (values[first], values[second])))
    return found


def _first_leads(metric: str, difference: float) -> bool:
    """Whether first - second says that the first is better."""
    return difference > 0 if better(metric) == "higher" else difference < 0


def held_orders(view: View, groups: pd.DataFrame, published: Sequence[Published]) -> list[Held]:
    """Every published order against every pair of our arms that differ in the sampling alone.

    Arms are held against published rows of their own encoder where there are any, else against those of all encoders
    of the source.
    """
    parts = group_parts(view, groups)
    orders = orders_of(published, view.benchmark)
    found = []
    for alike in _alike(view.arms):
        encoder = next(iter(alike.values())).encoder
        own = {order.source for order in orders if order.encoder == encoder}
        for order in orders:
            if order.encoder == encoder or order.source not in own:
                first, second = alike.get(order.first), alike.get(order.second)
                if first is not None and second is not None and order.setting in view.settings:
                    a, b = (parts.get((arm, order.setting, order.metric)) for arm in (first, second))
                    test = None if a is None or b is None else paired_test(b, a)
                    found.append(Held(order, (first, second), test, None))
    found.sort(key=_place_in(orders))
    adjusted = holm([held.test.p if held.test else None for held in found])
    return [held._replace(p=p) for held, p in zip(found, adjusted, strict=True)]


def _place_in(orders: Sequence[Order]) -> Callable[[Held], tuple[int, int, int]]:
    """Sorts by setting, metric and the two samplings: what several encoders say to one pair stands together."""
    settings = list(SETTING_LABELS)
    metrics = list(dict.fromkeys(order.metric for order in orders))
    pairs = list(dict.fromkeys(frozenset((order.first, order.second)) for order in orders))

    def place(held: Held) -> tuple[int, int, int]:
        order = held.order
        return (
            settings.index(order.setting),
            metrics.index(order.metric),
            pairs.index(frozenset((order.first, order.second))),
        )

    return place


def _alike(arms: Sequence[Arm]) -> Iterator[dict[str, Arm]]:
    """Label -> arm of those that differ in the sampling and in other cures alone.

    `en-en`, which sees no translation, stands beside the arms of the most translations.
    """
    trained = [arm for arm in arms if arm.sampling != UNTRAINED]
    rest = {arm: (arm.encoder, arm.num_pairs, arm.languages) for arm in trained}
    for like in dict.fromkeys(rest.values()):
        mine = [arm for arm in trained if rest[arm] == like]
        sizes = sorted({arm.num_translated for arm in mine} - {""}, key=size_order) or [""]
        for size in sizes:
            counts = (size, "") if size == sizes[-1] else (size,)
            yield {arm.sampling_label: arm for arm in mine if arm.num_translated in counts}


def order_table(view: View, groups: pd.DataFrame, published: Sequence[Published]) -> Table:
    """One row a published order and a pair of our arms: both pairs of numbers, seeds, and what ours say to it."""
    held = held_orders(view, groups, published)
    seeds = _by_seed(view)
    several = len({one.order.source for one in held}) > 1
    shared = [column for column in arm_columns(view.summary) if column.key not in ("text.sampling", "text.encoder")]
    return Table(
        name=f"order-{view.benchmark}",
        title=f"Published order and ours on {view.benchmark}",
        caption=_caption(view, held),
        columns=[
            text_column("setting", "setting"),
            text_column("metric", "metric"),
            text_column("first", "A"),
            text_column("second", "B"),
            text_column("verdict", "ours"),
            *_number_columns("published", "Published"),
            text_column("published_encoder", "encoder", "Published"),
            *([text_column("source", "source", "Published")] if several else []),
            *_number_columns("ours", "Ours"),
            text_column("seeds", "seeds", "Ours"),
            text_column("encoder", "encoder", "Ours"),
            *(replace(column, group="Ours") for column in shared),
        ],
        rows=[_row(view, one, seeds, shared, several) for one in held],
        notes=_notes(view, held),
        data_mark=view.data_mark,
    )


def _number_columns(key: str, group: str) -> list[Column]:
    labels = {"first": "A", "second": "B", "difference": "A − B"}
    return [Column(f"{key}.{part}", label, group, signed=part == "difference") for part, label in labels.items()]


def _row(
    view: View, held: Held, seeds: Mapping[tuple, Mapping[int, float]], shared: Sequence[Column], several: bool
) -> list[Cell]:
    order, key = held.order, (held.order.setting, held.order.metric)
    names = [column.key for column in arm_columns(view.summary)]
    # en-en, which has no number of translations, is paired with an arm that has one.
    words = [dict(zip(names, arm_cells(view.summary, arm), strict=True)) for arm in held.arms]
    common = [next((w[c.key] for w in words if w[c.key].value is not None), Cell(None)) for c in shared]
    places = digits(order.metric)
    ours = [mean_and_spread(list(seeds.get((arm, *key), {}).values()))[0] for arm in held.arms]
    difference = None if ours[0] is None or ours[1] is None else ours[0] - ours[1]
    mark = "" if held.p is None or held.p >= LEVEL or held.test is None else _mark(order.metric, held.test.difference)
    return [
        Cell(SETTING_LABELS[order.setting].lower()),
        Cell(metric_label(order.metric)),
        Cell(order.first),
        Cell(order.second),
        Cell(held.verdict),
        *(Cell(value, digits=places) for value in (*order.values, order.values[0] - order.values[1])),
        Cell(order.encoder),
        *([Cell(order.source)] if several else []),
        *(Cell(value, digits=places) for value in ours),
        Cell(difference, p=held.p, mark=mark, digits=places),
        Cell(_seeds_alike(order.metric, *(seeds.get((arm, *key), {}) for arm in held.arms))),
        Cell(held.arms[0].encoder),
        *common,
    ]


def _mark(metric: str, difference: float) -> str:
    return "better" if _first_leads(metric, difference) else "worse"


def _by_seed(view: View) -> dict[tuple[Arm, str, str], dict[int, float]]:
    """(arm, setting, metric) -> seed -> macro average, missing ones left out."""
    macro = view.summary.macro[view.summary.macro["benchmark"] == view.benchmark]
    columns = macro[["arm", "setting", "metric", "seed", "value"]]
    found: dict[tuple[Arm, str, str], dict[int, float]] = {}
    for arm, setting, metric, seed, value in columns.itertuples(index=False, name=None):
        if math.isfinite(value):
            found.setdefault((arm, setting, metric), {})[int(seed)] = value
    return found


def _seeds_alike(metric: str, first: Mapping[int, float], second: Mapping[int, float]) -> str | None:
    """ "2 of 3": of the seeds that both arms have, those in which the first is better."""
    common = sorted(set(first) & set(second))
    if not common:
        return None
    return f"{sum(_first_leads(metric, first[seed] - second[seed]) for seed in common)} of {len(common)}"


def _caption(view: View, held: Sequence[Held]) -> str:
    counts = Counter(one.verdict for one in held)
    verdicts = [verdict for verdict in (AGREES, DIFFERS, OPEN, EQUAL, UNTESTED) if counts[verdict]]
    said = ", ".join(f"{verdict} {counts[verdict]}" for verdict in verdicts)
    foreign: dict[str, set[str]] = {}
    for one in held:
        if one.order.encoder != one.arms[0].encoder:
            foreign.setdefault(one.arms[0].encoder, set()).add(one.order.encoder)
    others = "".join(
        f" Ours with {encoder} are held against what was published with another encoder ({', '.join(sorted(names))}): "
        "an order that differs may be the encoder's."
        for encoder, names in foreign.items()
    )
    return (
        f"Of {len(held)} published orders held against ours, setting by setting: {said or 'none'}. A is the row "
        "that was published as the better one. Agrees: ours stand in the same order, significantly; differs: in the "
        f"other order, significantly.{others}{constants(view.summary)}"
    )


def _notes(view: View, held: Sequence[Held]) -> list[str]:
    tested = [one.test for one in held if one.test is not None and one.p is not None]
    notes = list(view.notes)
    if tested:
        sizes = sorted({test.groups for test in tested})
        size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        notes.append(
            f"▲ A significantly better, ▼ significantly worse than B (p < {LEVEL:g}): two-sided paired t-test over "
            f"{size} query groups, with values averaged over languages and seeds within a group; Holm's correction "
            f"over the table's {len(tested)} comparisons. Seeds: in how many of ours A is better than B."
        )
    notes += [
        f"{source}: values as printed there; what differs in data, training length, seeds and software is said in "
        f"published-{view.benchmark} and manifest.json. Published differences were not tested here."
        for source in dict.fromkeys(one.order.source for one in held)
    ]
    return notes
