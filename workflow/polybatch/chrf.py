"""chrF of many pairs of texts at once: sacrebleu's numbers, to the bit, without its loop over n-grams.

inputs: hypotheses and their references
outputs: counts of character n-grams; from them chrF2 of each pair, or of all pairs as one corpus

chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation") compares the character n-grams of two
texts, n from 1 to 6, white space left out. sacrebleu 2 counts them text by text in Python's dictionaries; here those of
all pairs are numbered together by sorting. A pair's score is formed from the counts by the same operations in the same
order as in sacrebleu, so that the two agree in every bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

ORDERS = 6
_BETA2 = 4  # recall counts twice as much as precision
_CHARACTERS_AT_ONCE = 300_000  # some 30 MB


def statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """How many n-grams each pair has.

    Args:
        hypotheses: What is judged, n texts.
        references: What it should be, n texts.

    Returns:
        (n, 6, 3) int64: for n-grams of 1 to 6 characters those of the hypothesis, of the reference, and common ones.
        Those of the hypothesis are 0 where the reference has none, as sacrebleu has it.
    """
    counts = np.zeros((len(hypotheses), ORDERS, 3), dtype=np.int64)
    for start, end in _portions(hypotheses, references):
        counts[start:end] = _counts(hypotheses[start:end], references[start:end])
    counts[:, :, 0] *= counts[:, :, 1] > 0
    return counts


def scores(counts: np.ndarray) -> np.ndarray:
    """chrF2, 0 to 100, of each row of `statistics`: (n, 6, 3) -> (n,) float64."""
    precision_sum, recall_sum = np.zeros(len(counts)), np.zeros(len(counts))
    orders = np.zeros(len(counts), dtype=np.int64)
    for order in range(ORDERS):
        hypothesis, reference, common = counts[:, order].T
        both = (hypothesis > 0) & (reference > 0)
        precision_sum += np.divide(common, hypothesis, out=np.zeros(len(counts)), where=both)
        recall_sum += np.divide(common, reference, out=np.zeros(len(counts)), where=both)
        orders += both
    precision, recall = (total / np.maximum(orders, 1) for total in (precision_sum, recall_sum))
    some = precision + recall > 0
    weighted = np.where(some, _BETA2 * precision + recall, 1.0)
    return np.asarray(100 * ((1 + _BETA2) * precision * recall / weighted))


def corpus_score(counts: np.ndarray) -> float:
    """chrF2, 0 to 100, of all rows of `statistics` as one corpus."""
    return float(scores(counts.sum(axis=0, keepdims=True))[0])


def _portions(hypotheses: Sequence[str], references: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of pairs that together are not too long to be counted at once."""
    start = length = 0
    for number, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True), start=1):
        length += len(hypothesis) + len(reference)
        if length >= _CHARACTERS_AT_ONCE:
            yield start, number
            start, length = number, 0
    if start < len(hypotheses):
        yield start, len(hypotheses)


def _counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """`statistics` of texts that are counted at once."""
    texts = ["".join(text.split()) for text in (*hypotheses, *references)]
    lengths = np.array([len(text) for text in texts])
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(characters))  # characters from here to the text's end
    pairs = len(hypotheses)
    owner = np.repeat(np.arange(2 * pairs) % pairs, lengths)
    first = len(characters) - int(lengths[pairs:].sum())  # where the references begin
    found = np.zeros((pairs, ORDERS, 3), dtype=np.int64)
    # An n-gram's number is its own within its pair: that of its first n-1 characters with the last one, renumbered.
    starts = np.arange(len(characters))
    numbers = owner.astype(np.uint64)
    for order in range(ORDERS):
        whole = left[starts] > order
        starts, numbers = starts[whole], numbers[whole]
        distinct, numbers = np.unique(numbers << np.uint64(32) | characters[starts + order], return_inverse=True)
        split = int(np.searchsorted(starts, first))
        sides = [np.bincount(part, minlength=len(distinct)) for part in (numbers[:split], numbers[split:])]
        of = np.zeros(len(distinct), dtype=np.int64)
        of[numbers] = owner[starts]
        for column, counted in enumerate((*sides, np.minimum(*sides))):
            found[:, order, column] = np.bincount(of, weights=counted, minlength=pairs)
        numbers = numbers.astype(np.uint64)
    return found
