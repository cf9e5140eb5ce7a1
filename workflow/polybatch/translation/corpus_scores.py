"""BLEU and chrF of translations over a corpus (sacrebleu)."""

from __future__ import annotations

from polybatch.core.errors import DataError


def corpus_scores(outputs: list[str], references: list[str], target_lang: str) -> dict[str, float]:
    """sacrebleu's corpus BLEU (13a, or zh/ja-mecab's stand-in `char` for unspaced scripts) and chrF2, 0 to 100."""
    from sacrebleu.metrics import BLEU, CHRF

    if not outputs:
        raise DataError("There is nothing to score: no output has a reference.", expected="at least one text")
    tokenize = {"zh": "zh", "ja": "char", "th": "char"}.get(target_lang, "13a")
    return {
        "bleu": round(BLEU(tokenize=tokenize).corpus_score(outputs, [references]).score, 2),
        "chrf": round(CHRF().corpus_score(outputs, [references]).score, 2),
        "count": len(outputs),
    }
