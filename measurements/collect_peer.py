"""What a user would write without Polybatch: clean, deduplicate and decontaminate pairs with datasets and rensa.

One script in one process; `datasets.map` spreads what goes row by row over all processor cores. Exact duplicates are
found with a set, near duplicates with MinHash signatures (rensa, in bulk) and a dictionary of bands, as the well-known
deduplication scripts do, and overlap with evaluation text with Python sets of n-grams. The rules are Polybatch's
(docs/config.md), so that the pairs that are left can be compared.

inputs: source.parquet and benchmarks/made/ of collect.py
outputs: en.parquet and pairs.parquet with the ids that collect.py compares, and the seconds of each step
"""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash

SOURCE = "made"
PERMUTATIONS, BATCH = 64, 5_000
NGRAM, SHARE, MIN_SHARED, MIN_WORDS, MAX_TEXTS = {"query": 3, "passage": 5}, {"query": 0.6, "passage": 0.5}, 3, 3, 200
# Vowel signs and other marks are parts of words.
_MARKS = "".join(c for c in map(chr, range(0x300, 0xFE30)) if unicodedata.category(c) in ("Mn", "Mc"))
_NOT_WORD = re.compile(rf"(?:[^\w{_MARKS}]|_)+")
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\ufeff]")
_MARKUP = [(re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"), (re.compile(r"</?[a-zA-Z][^>]*>"), " ")]
_MARKUP += [(re.compile(r"^\s*(?:[-*•]|#+)\s+", re.MULTILINE), ""), (re.compile(r"(\*\*|__|`+)"), "")]


def cleaned(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(_INVISIBLE.sub("", text).split())


def normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or folded.strip()


def clean(batch: dict[str, list[str]], rules: dict[str, Any]) -> dict[str, list[str]]:
    """Rows that keep to the rules, with their normalised texts and their ids."""
    names = ("pair_id", "query", "passage", "query_key", "passage_key")
    rows: dict[str, list[str]] = {name: [] for name in names}
    for query, passage in zip(map(cleaned, batch["query"]), map(cleaned, batch["passage"]), strict=True):
        query_key, passage_key = normalised(query), normalised(passage)
        if not query_key or not passage_key or query_key == passage_key:
            continue
        if not any(ch.isalpha() for ch in query_key) or not 3 <= len(passage.split()) <= rules["max_words"]:
            continue
        parts = (part.encode() for part in (SOURCE, query_key, passage_key))
        identity = hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).hexdigest()[:16]
        for name, value in zip(names, (identity, query, passage, query_key, passage_key), strict=True):
            rows[name].append(value)
    return rows


def signed(batch: dict[str, list[str]]) -> dict[str, Any]:
    """MinHash signatures of both sides: word trigrams of passages, character 4-grams of queries."""
    passages = [
        [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
        for words in (key.split() for key in batch["passage_key"])
    ]
    queries = [[key[i : i + 4] for i in range(max(1, len(key) - 3))] for key in batch["query_key"]]
    sides = [RMinHash.digests_from_token_sets(tokens, PERMUTATIONS, 1) for tokens in (passages, queries)]
    return {"signature": [[*passage, *query] for passage, query in zip(*sides, strict=True)]}


def distinct(rows: datasets.Dataset, rules: dict[str, Any]) -> tuple[list[int], dict[str, int]]:
    """Numbers of the rows that are no duplicate, nor near duplicate, of an earlier one."""
    seen: set[str] = set()
    kept = [at for at, identity in enumerate(rows["pair_id"]) if not (identity in seen or seen.add(identity))]  # type: ignore[func-returns-value]
    counts = {"duplicate": len(rows) - len(kept), "near duplicate": 0}
    threshold = rules["near_duplicate_threshold"]
    if not threshold:
        return kept, counts
    width = max(r for r in range(1, 17) if 1 - (1 - threshold ** (2 * r)) ** (PERMUTATIONS // r) >= 0.99)
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    signatures: dict[int, np.ndarray] = {}
    for at in kept:
        signature = np.array(rows[at]["signature"], dtype=np.uint32)
        passage, query = signature[:PERMUTATIONS], signature[PERMUTATIONS:]
        keys = [
            (start, passage[start : start + width].tobytes() + query[start : start + width].tobytes())
            for start in range(0, PERMUTATIONS - width + 1, width)
        ]
        candidates = {number for key in keys for number in bands.get(key, ())}
        if any(
            min((signatures[c] == signature)[:PERMUTATIONS].mean(), (signatures[c] == signature)[PERMUTATIONS:].mean())
            >= threshold
            for c in candidates
        ):
            continue
        signatures[at] = signature
        for key in keys:
            bands[key].append(at)
    counts["near duplicate"] = len(kept) - len(signatures)
    return list(signatures), counts


def ngrams(form: str, n: int) -> set[tuple[str, ...]]:
    words = form.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


class Evaluation:
    """All evaluation text in dictionaries."""

    def __init__(self, folder: Path) -> None:
        self.exact: dict[str, str] = {}
        self.whole: dict[str, str] = {}
        self.grams: dict[str, dict[tuple[str, ...], list[str]]] = {side: defaultdict(list) for side in NGRAM}
        for side, file in (("query", "queries"), ("passage", "corpus")):
            table = pq.read_table(folder / file / "en.parquet").to_pydict()
            for identity, text in zip(table[f"{side}_id"], table["text"], strict=True):
                key = self.key(text, side)
                if key is not None:
                    self.exact.setdefault(unicodedata.normalize("NFC", text).strip(), identity)
                    self.whole.setdefault(key, identity)
                if len(text.split()) >= MIN_WORDS:
                    for gram in ngrams(normalised(text), NGRAM[side]):
                        self.grams[side][gram].append(identity)
        self.sizes: dict[str, Counter[str]] = {}
        self.common: dict[str, set[tuple[str, ...]]] = {}
        for side, grams in self.grams.items():
            self.common[side] = {gram for gram, texts in grams.items() if len(texts) > MAX_TEXTS}
            for gram in self.common[side]:
                del grams[gram]
            self.sizes[side] = Counter(text for texts in grams.values() for text in texts)

    @staticmethod
    def key(text: str, side: str) -> str | None:
        if len(text.split()) >= MIN_WORDS:
            return normalised(text)
        return f"short query: {normalised(text)}" if side == "query" else None

    def find(self, text: str, side: str) -> tuple[str, str] | None:
        """(overlap, id) of the evaluation text that a text overlaps with most."""
        key = self.key(text, side)
        if key is None:
            return None
        if key in self.whole:
            composed = unicodedata.normalize("NFC", text).strip()
            return ("exact", self.exact[composed]) if composed in self.exact else ("normalised", self.whole[key])
        if len(text.split()) < MIN_WORDS:
            return None
        own = ngrams(normalised(text), NGRAM[side]) - self.common[side]
        shared = Counter(other for gram in own for other in self.grams[side].get(gram, ()))
        sizes, size = self.sizes[side], max if side == "query" else min
        shares = {o: many / size(len(own), sizes[o]) for o, many in shared.items() if many >= MIN_SHARED}
        enough = {o: share for o, share in shares.items() if share >= SHARE[side]}
        return ("ngram", min(enough, key=lambda o: (-enough[o], int(o[1:])))) if enough else None


# Not an argument of the function that is mapped: datasets would pickle it for a fingerprint, and once a process.
_EVALUATION: list[Evaluation] = []


def overlapping(batch: dict[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in ("pair_id", "side", "overlap", "text_id")}
    for side in NGRAM:
        for identity, text in zip(batch["pair_id"], batch[side], strict=True):
            if match := _EVALUATION[0].find(text, side):
                for name, value in zip(found, (identity, side, *match), strict=True):
                    found[name].append(value)
    return found


def run(data: Path, work: Path, rules: dict[str, Any], processes: int) -> dict[str, Any]:
    """Does everything; returns {"stages": seconds of each step, "counts": what was removed}."""
    datasets.disable_progress_bars()
    took, start = {}, time.perf_counter()

    def told(step: str) -> None:
        nonlocal start
        took[step], start = round(time.perf_counter() - start, 3), time.perf_counter()

    options: dict[str, Any] = {"batched": True, "batch_size": BATCH, "num_proc": processes}
    rows = datasets.Dataset.from_parquet(str(data / "source.parquet"), cache_dir=str(work / "cache"))
    raw = len(rows)
    rows = rows.map(clean, fn_kwargs={"rules": rules}, remove_columns=rows.column_names, **options)
    told("clean")
    signatures = rows.map(signed, **options) if rules["near_duplicate_threshold"] else rows
    kept, counts = distinct(signatures, rules)
    rows = rows.select(kept)
    told("deduplicate")
    _EVALUATION[:] = [Evaluation(data / "benchmarks" / "made")]
    write(work / "en.parquet", rows["pair_id"])
    names = rows.column_names
    found = rows.map(overlapping, remove_columns=names, **options)
    found.to_parquet(str(work / "pairs.parquet"))
    told("decontaminate")
    return {
        "stages": took,
        "counts": {"faulty": raw - counts["duplicate"] - counts["near duplicate"] - len(kept), **counts},
    }


def write(path: Path, ids: Iterable[str]) -> None:
    pq.write_table(pa.table({"pair_id": list(ids)}), path)
