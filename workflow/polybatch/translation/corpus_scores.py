"""BLEU and chrF of translations over a corpus (sacrebleu).

inputs: translations and as many references, in memory
outputs: two numbers from 0 to 100
"""

from __future__ import annotations

from polybatch.core.errors import DataError
from polybatch.core.languages import language


def corpus_scores(outputs: list[str], references: list[str], target_lang: str) -> dict[str, float]:
    """sacrebleu's corpus BLEU (13a; zh for Chinese, char for other scripts without spaces) and chrF2, 0 to 100."""
    from sacrebleu.metrics import BLEU, CHRF

    if not outputs:
        raise DataError("There is nothing to score: no output has a reference.", expected="at least one text")
    spaced = language(target_lang).spaced_words
    tokenize = "13a" if spaced else "zh" if target_lang == "zh" else "char"
    return {
        "bleu": round(BLEU(tokenize=tokenize).corpus_score(outputs, [references]).score, 2),
        "chrf": round(CHRF().corpus_score(outputs, [references]).score, 2),
        "count": len(outputs),
    }
