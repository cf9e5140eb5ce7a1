"""What the scores of a model as it comes mean, in one sentence.

inputs: a `View` of one benchmark's scores, and their means
outputs: sentences: how often the query's own language comes first, and how often it would in a ranking blind to
    language; how far apart translations of one passage stand

The sentences say what was counted, not whether that is good.
"""

from __future__ import annotations

from collections.abc import Mapping

from polybatch.retrieval.metrics import OWN_FIRST, POOL_SHARE, RANK_DISTANCE
from polybatch.tables.forms.table import Column, format_number
from polybatch.tables.scores import View
from polybatch.tables.summary import Arm, metric_label


def blind_share(view: View) -> float | None:
    """The share of queries that would find their own language first if ranking were blind to language.

    That is the share of the query's language in the pool, mean over query languages: right passages that are
    translations of one another are as likely to stand first as there are of them. None where shares were not measured.
    """
    scores = view.scores
    asked = set(scores.loc[scores["metric"] == OWN_FIRST, "query_lang"])
    pool = scores[scores["metric"] == POOL_SHARE].groupby("corpus_lang", sort=False)["value"].first()
    shares = [float(pool[lang]) for lang in sorted(asked) if lang in pool.index]
    return sum(shares) / len(shares) if shares and len(shares) == len(asked) else None


def model_sentence(view: View, arm: Arm, means: Mapping[tuple, float | None]) -> str:
    """What a model's scores come to, in one sentence.

    Args:
        means: (arm, setting, metric) -> mean, None where there is none.
    """
    own, apart = (means.get((arm, "multilingual", metric)) for metric in (OWN_FIRST, RANK_DISTANCE))
    told = []
    if own is not None:
        blind = blind_share(view)
        chance = "" if blind is None else f", where a ranking blind to language would for {_percent(blind)}"
        told.append(f"puts a passage in the query's own language first for {_percent(own)} of the queries{chance}")
    if apart is not None:
        told.append(
            "the best and the worst placed of the right passages, which are translations of one another, stand "
            f"{apart:,.0f} ranks apart"
        )
    if not told:
        return f"{arm.encoder}: {_without_pool(view, arm, means)}"
    start = f"{arm.encoder} " if own is not None else f"{arm.encoder}: "
    return f"{start}{'; '.join(told)}."


def _without_pool(view: View, arm: Arm, means: Mapping[tuple, float | None]) -> str:
    """What can be told where no pool of several languages was searched."""
    places = {"monolingual": "within a language", "cross_lingual": "across languages"}
    values = {words: means.get((arm, setting, view.headline)) for setting, words in places.items()}
    told = [f"{value:.3f} {words}" for words, value in values.items() if value is not None]
    scores = f"{metric_label(view.headline)} is {' and '.join(told)}; " if told else ""
    return f"{scores}whether it prefers a language cannot be told without translations in one pool."


def _percent(share: float) -> str:
    return format_number(share, Column("", "", digits=0, percent=True)).replace("%", " %")


def model_sentences(view: View, means: Mapping[tuple, float | None], most: int) -> list[str]:
    """The sentences of the first `most` models; that there are others is said."""
    rest = len(view.arms) - most
    told = [model_sentence(view, arm, means) for arm in view.arms[:most]]
    return told + ([f"Further models in the table: {rest}."] if rest > 0 else [])
