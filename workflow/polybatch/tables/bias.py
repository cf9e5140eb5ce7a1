"""The table of the measures of language bias.

inputs: a `View` of one benchmark's scores
outputs: a `Table`: language_bias
"""

from __future__ import annotations

from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import (
    FIRST_PASSAGE,
    LANGUAGE_DISTANCE,
    LAST_RANK,
    OTHER_RECALL,
    OWN_FIRST,
    OWN_NDCG,
    RANK_CORRELATION,
    RANK_DISTANCE,
    is_bias_metric,
    is_share,
)
from polybatch.tables.forms.table import Column, Table, mark_best
from polybatch.tables.scores import View, arm_cells, arm_columns, constants, score_cell, setting_words
from polybatch.tables.summary import better, digits, metric_label

_BIAS_MEANINGS = {
    RANK_DISTANCE: "Rank distance: ranks between the best and the worst placed relevant passage.",
    LAST_RANK: "Last relevant rank: rank at which the last of a query's relevant passages is found.",
    OTHER_RECALL: "TLR@k: share of a query's relevant passages in other languages that stand among the first k (arXiv "
    "2606.18801).",
    OWN_FIRST: "Own language first: share of queries whose best placed relevant passage is in the query's "
    "language, among queries with relevant passages in that and in another language.",
    OWN_NDCG: "Own-language nDCG: nDCG in which relevant passages in other languages than the query's gain half.",
    RANK_CORRELATION: "MRC@k: rank correlation of the scores that a query and its translation give to the union of "
    "their first k passages, mean over translations; from -1 to 1 (Yang et al., MRL 2024, arXiv 2509.06195, as MIMO "
    "computes it, arXiv 2605.31171).",
    LANGUAGE_DISTANCE: "Language distance: total variation distance between the languages of a query's first passages "
    "and those of the pool.",
    "first_": "First passage: what stands on the first rank, shares of queries.",
}


def language_bias_table(view: View) -> Table:
    """All measures of language bias in the pool: rank distance, preference, language-aware nDCG, the first passage."""
    macro = view.macro()
    known = list(dict.fromkeys(metric for _, setting, metric in macro if setting == "multilingual"))
    wanted = [name for name in known if is_bias_metric(name) and not is_share(name)]
    if not wanted:
        raise DataError(
            f"No measure of language bias on benchmark {view.benchmark}.",
            found=", ".join(known),
            remedy="evaluate the multilingual setting, with rank_distance or another of them among scoring.metrics",
        )
    meant = [words for name, words in _BIAS_MEANINGS.items() if any(m.startswith(name) for m in wanted)]
    columns = [
        Column(
            name,
            # The first of the cases names them all where it stands alone; here their group does.
            metric_label(name).removeprefix("first: "),
            "First passage" if name in FIRST_PASSAGE else "",
            digits=1 if name in FIRST_PASSAGE else digits(name),
            percent=name in FIRST_PASSAGE,
            better=better(name),
        )
        for name in wanted
    ]
    table = Table(
        name=f"language_bias-{view.benchmark}",
        title=f"Language bias on {view.benchmark}",
        caption=" ".join([setting_words(view, "multilingual", wanted[0]), *meant])
        + f" Mean over seeds ± sample standard deviation.{constants(view.summary)}",
        columns=[*arm_columns(view.summary), *columns],
        rows=[
            [
                *arm_cells(view.summary, arm),
                *(score_cell(macro.get((arm, "multilingual", name), [])) for name in wanted),
            ]
            for arm in view.arms
        ],
        notes=[
            "Own language first, own-language nDCG and the cases of the first passage follow the description of "
            "Jang et al. 2026 (arXiv 2605.07249); whether they are that paper's LPR and Lang-nDCG is not known."
        ],
        data_mark=view.data_mark,
    )
    return mark_best(table)
