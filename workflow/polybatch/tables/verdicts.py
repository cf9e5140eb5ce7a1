"""What a benchmark's tables say, in words: which arms differ from the reference by more than chance, and their cost.

inputs: the tables of one benchmark: cost, order
outputs: sentences
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polybatch.tables.forms.table import Cell, Column, Table, format_number
from polybatch.tables.summary import SETTING_LABELS

# So many names of arms are read in one breath; more are counted.
_NAMED = 6
_COST_WORDS = ("text.device", "text.encoding", "text.search")
# The words of the table of findings, which stands beside the sentences.
_SETTINGS = dict(
    zip(SETTING_LABELS.values(), ("Within a language", "Across languages", "In the mixed pool"), strict=True)
)
_CLASSES = {"better": "better", "worse": "worse", "changed": "different", "": "no significant difference"}


def significance_sentences(cost: Table) -> list[str]:
    """A sentence a setting: which arms are significantly better or worse than the reference, and which are not."""
    sentences = []
    for place, column in enumerate(cost.columns):
        if column.key.endswith(".difference"):
            found: dict[str, list[str]] = {kind: [] for kind in _CLASSES}
            for row in cost.rows:
                if row[place].p is not None:
                    found[row[place].mark].append(_name(cost, row))
            told = [f"{_CLASSES[kind]}: {_listed(names)}" for kind, names in found.items() if names]
            where = _SETTINGS.get(column.group, column.group)
            sentences += [f"{where}, {column.label}: {'; '.join(told)}."] if told else []
    return sentences


def cost_sentences(cost: Table) -> list[str]:
    """How long trainings took and on what, and what search needs beyond the models."""
    return [*_training(cost), *_search(cost)]


def _training(cost: Table) -> Iterator[str]:
    trained = [row for row in cost.rows if (_cell(cost, row, "minutes").number or 0) > 0]
    if not trained:
        return
    minutes, steps = (
        _range([_cell(cost, row, key).number for row in trained], cost.columns[_place(cost, key)])
        for key in ("minutes", "steps")
    )
    on = "; ".join(dict.fromkeys(str(_cell(cost, row, "text.device").value) for row in trained))
    yield f"A training took {minutes} minutes and {steps} steps ({on})."


def _range(values: Sequence[float | None], column: Column) -> str:
    known = [value for value in values if value is not None]
    low, high = (format_number(value, column) for value in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"


def _search(cost: Table) -> Iterator[str]:
    needs: dict[str, list[str]] = {}
    for row in cost.rows:
        needs.setdefault(str(_cell(cost, row, "text.search").value), []).append(_name(cost, row))
    if set(needs) == {"nothing"}:
        yield "At search, no arm needs more than its model, and none needs texts encoded once more."
        return
    told = [f"{need}: {_listed(names)}" for need, names in needs.items() if need != "nothing"]
    yield f"At search, some arms need more than their model: {'; '.join(told)}."


def _place(table: Table, key: str) -> int:
    return [column.key for column in table.columns].index(key)


def _cell(table: Table, row: Sequence[Cell], key: str) -> Cell:
    return row[_place(table, key)]


def _name(cost: Table, row: Sequence[Cell]) -> str:
    """An arm by all words that name it: "e5-small x-y 1000"."""
    words = [
        str(cell.value)
        for cell, column in zip(row, cost.columns, strict=True)
        if column.is_text and column.key not in _COST_WORDS and cell.value is not None
    ]
    return " ".join(words)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
