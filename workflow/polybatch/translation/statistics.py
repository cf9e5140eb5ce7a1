"""Counts and corpus scores of the machine translations into one language.

inputs: round trips and what was judged of them, a batch at a time
outputs: the content of translated/<lang>.json
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Container
from pathlib import Path
from typing import Any

from polybatch.core.text import hash64
from polybatch.translation import comet
from polybatch.translation.corpus_scores import corpus_scores

ACCEPTED = "accepted"


SCORED_PAIRS = 2_000  # about as many as a test set of WMT; sacrebleu keeps 45 KB of counts for each


class Statistics:
    """Counts by reason and source, and corpus scores: forward against the supplied references, and round trip.

    Scored are distinct texts, so that a string met a hundred times counts once.
    """

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self._scored: list[dict] = []
        self._hashes = {(side, kind): array("Q") for side in ("query", "passage") for kind in ("english", "output")}
        self._negatives: Counter[str] = Counter()

    def add(self, rows: list[dict], table: list[dict]) -> None:
        """Takes in a batch of round trips and what was judged of them."""
        for row, judged in zip(rows, table, strict=True):
            self._reasons[judged["source"]][judged["reason"]] += 1
            for side in ("query", "passage"):
                self._hashes[side, "english"].append(hash64(row[f"english_{side}"]))
                self._hashes[side, "output"].append(hash64(row[side]))
            if judged["accepted"]:
                self._negatives["translated"] += sum(map(bool, row["hard_negatives"]))
                self._negatives["kept"] += sum(map(bool, judged["hard_negatives"]))
        self._scored += rows[: max(0, SCORED_PAIRS - len(self._scored))]

    def reasons(self) -> Counter[str]:
        """How many pairs met each verdict, "accepted" among them."""
        return sum(self._reasons.values(), Counter())

    def result(self, references: dict[str, dict], comet_model: Path | None = None) -> dict[str, Any]:
        """What translated/<lang>.json holds."""
        reasons = self.reasons()
        result: dict[str, Any] = {
            "lang": self.lang,
            "pairs": reasons.total(),
            "accepted": reasons[ACCEPTED],
            "reasons": dict(reasons),
            "sources": {source: _counted(self._reasons[source]) for source in sorted(self._reasons)},
            "hard_negatives": {name: self._negatives[name] for name in ("translated", "kept")},
            "forward": {},
            "round_trip": {},
            "distinct_outputs": {},
            "comet": {},
        }
        for side in ("query", "passage"):
            result["distinct_outputs"][side] = self._distinct_outputs(side)
            self._score(side, references, result)
            if comet_model and self._scored:
                result["comet"][side] = self._comet(side, references, comet_model)
        return result

    def _distinct_outputs(self, side: str) -> float:
        import numpy as np

        english, outputs = (len(np.unique(self._hashes[side, kind])) for kind in ("english", "output"))
        return outputs / max(1, english)

    def _score(self, side: str, references: dict[str, dict], result: dict[str, Any]) -> None:
        rows = self._distinct(side)
        if rows:
            result["round_trip"][side] = corpus_scores(
                [row[f"{side}_back"] for row in rows], [row[f"english_{side}"] for row in rows], "en"
            )
        known = self._distinct(side, references)
        if known:
            texts = [references[row["pair_id"]][side] for row in known]
            result["forward"][side] = corpus_scores([row[side] for row in known], texts, self.lang)

    def _comet(self, side: str, references: dict[str, dict], model: Path) -> dict[str, Any]:
        """Against the references if there are any, as `_score`; else by a model that does without."""
        known = self._distinct(side, references)
        texts = [references[row["pair_id"]][side] for row in known] or None
        judged = known or self._distinct(side)
        found = comet.scores([row[f"english_{side}"] for row in judged], [row[side] for row in judged], texts, model)
        return {"mean": round(sum(found) / len(found), 4), "count": len(found), "references": bool(texts)}

    def _distinct(self, side: str, among: Container[str] | None = None) -> list[dict]:
        """A row for each distinct English text; with `among`, of the pairs of these ids alone."""
        rows = [row for row in self._scored if among is None or row["pair_id"] in among]
        return list({row[f"english_{side}"]: row for row in rows}.values())


def _counted(reasons: Counter[str]) -> dict[str, Any]:
    return {"pairs": reasons.total(), "accepted": reasons[ACCEPTED], "reasons": dict(reasons)}
