"""Decides which machine-translated pairs are good enough to train on, and says why the others are not.

inputs: all shards translated/<lang>/*.parquet, collected/en.parquet, human/<lang>.parquet
outputs: translated/<lang>.parquet (contracts.TRANSLATED) and translated/<lang>.json (counts and scores)

A pair is refused for the first of these that holds: a text is empty; it copies its source; it repeats itself;
its length is out of proportion; it is in another language; the round trip lost too much (chrF between the
English text and its back-translation); or it equals a held-out text of that language.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from polybatch import contracts, stage
from polybatch.convert_translator import corpus_scores
from polybatch.errors import ConfigError, DataError
from polybatch.files import read_parquet, write_json, write_rows
from polybatch.languages import language
from polybatch.options import Options, require
from polybatch.parallel_text import texts
from polybatch.text import text_key, word_count
from polybatch.translator import read_card

ACCEPTED = "accepted"
_LANGUAGE_MIN_LETTERS = 20  # language identification of anything shorter is a guess
# A fixed set, so that another language in the study does not judge this one's pairs anew.
_TOLD_APART = ("de", "en", "es", "fr", "it", "nl", "pt", "ru")
_COPY_MIN_WORDS = 3  # a name of one or two words may well be the same in both languages


@dataclass(frozen=True)
class AcceptOptions(Options):
    """Thresholds of the filter. chrF is sacrebleu's chrF2, 0 to 100."""

    min_query_chrf: float = 35.0
    min_passage_chrf: float = 45.0
    min_length_ratio: float = 0.4
    max_length_ratio: float = 2.5
    max_repetition: float = 0.5
    min_language_confidence: float = 0.2

    def faults(self) -> Iterator[str]:
        for name in ("min_query_chrf", "min_passage_chrf"):
            yield from require(0 <= getattr(self, name) <= 100, f"{name} must be within 0 and 100")
        for name in ("max_repetition", "min_language_confidence"):
            yield from require(0 <= getattr(self, name) <= 1, f"{name} must be within 0 and 1")
        yield from require(
            0 <= self.min_length_ratio < self.max_length_ratio, "min_length_ratio must be below max_length_ratio"
        )


def gather(shards: list[Path], collected: list[dict]) -> list[dict]:
    """All shards' rows in the order of `collected`; a DataError if a pair is missing or comes twice."""
    expected = [row["pair_id"] for row in collected if row["kind"] == "english_only" and row["split"] == "train"]
    found: dict[str, dict] = {}
    rows = 0
    for path in shards:
        for row in read_parquet(path, contracts.ROUND_TRIP).to_pylist():
            found[row["pair_id"]] = row
            rows += 1
    if rows != len(expected) or set(found) != set(expected):
        missing = [i for i in expected if i not in found]
        raise DataError(
            "The translated shards do not hold what was to be translated.",
            where=", ".join(map(str, shards)),
            expected=f"{len(expected)} pairs, each once",
            found=f"{rows} rows, {len(missing)} pairs missing (the first: {missing[:1]})",
            remedy="delete the shards and run the same command again",
        )
    return [found[identity] for identity in expected]


def repetition(text: str) -> float:
    """Share of a text's word trigrams that are repeats of an earlier one; 0 for texts of under six words."""
    words = text_key(text).split()
    grams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return 1 - len(set(grams)) / len(grams) if len(words) >= 6 else 0.0


def language_confidence(target: str) -> Callable[[str], float]:
    """A function text -> confidence, 0 to 1, that it is in the target language and not in a common other one."""
    from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

    if not hasattr(IsoCode639_1, target.upper()):
        raise ConfigError(
            f"Translations into {language(target).name} cannot be checked: lingua does not know the language.",
            remedy="take the language out of translation.languages",
        )
    codes = [getattr(IsoCode639_1, code.upper()) for code in sorted({target, *_TOLD_APART})]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
    wanted = Language.from_iso_code_639_1(getattr(IsoCode639_1, target.upper()))
    return lambda text: detector.compute_language_confidence(text, wanted)


class Verdict:
    """Judges round trips into one language; `reason` returns "accepted" or why not."""

    def __init__(self, lang: str, held_out: set[str], options: AcceptOptions) -> None:
        from sacrebleu.metrics import CHRF

        self.options, self.held_out = options, held_out
        self.lang, self.length = lang, language(lang).length
        self._confidence = language_confidence(lang)
        self._chrf = CHRF()

    def chrf(self, english: str, back: str) -> float:
        """Sentence chrF2 of a back-translation against its English original."""
        return self._chrf.sentence_score(back, [english]).score

    def reason(self, row: dict, query_chrf: float, passage_chrf: float) -> str:
        """The first fault found, in the order of the module's docstring."""
        sides = [(row["english_query"], row["query"]), (row["english_passage"], row["passage"])]
        checks: list[tuple[str, bool]] = [
            ("empty", any(not text_key(text) for _, text in sides)),
            ("copied source", any(_copied(english, text) for english, text in sides)),
            ("repetition", any(repetition(text) > self.options.max_repetition for _, text in sides)),
            ("length ratio", not self._length_fits(*sides[1])),
        ]
        for name, fault in checks:
            if fault:
                return name
        if self._in_another_language(row["passage"]):
            return "language"
        if query_chrf < self.options.min_query_chrf or passage_chrf < self.options.min_passage_chrf:
            return "round trip"
        if {text_key(row["query"]), text_key(row["passage"])} & self.held_out:
            return "held-out text"
        return ACCEPTED

    def _length_fits(self, english: str, text: str) -> bool:
        ratio = len(text) / len(english) / self.length
        return self.options.min_length_ratio <= ratio <= self.options.max_length_ratio

    def _in_another_language(self, text: str) -> bool:
        if sum(ch.isalpha() for ch in text) < _LANGUAGE_MIN_LETTERS * self.length:
            return False
        return self._confidence(text) < self.options.min_language_confidence


def _copied(english: str, text: str) -> bool:
    return word_count(english) >= _COPY_MIN_WORDS and text_key(english) == text_key(text)


def judge(rows: list[dict], verdict: Verdict) -> list[dict]:
    """The rows of translated/<lang>.parquet."""
    table = []
    for row in stage.progress(rows, total=len(rows), label=f"filter {verdict.lang}"):
        query_chrf = verdict.chrf(row["english_query"], row["query_back"])
        passage_chrf = verdict.chrf(row["english_passage"], row["passage_back"])
        reason = verdict.reason(row, query_chrf, passage_chrf)
        table.append(
            {
                **{k: row[k] for k in ("pair_id", "source", "query", "passage", "query_back", "passage_back")},
                "query_chrf": query_chrf,
                "passage_chrf": passage_chrf,
                "accepted": reason == ACCEPTED,
                "reason": reason,
            }
        )
    return table


def statistics(lang: str, rows: list[dict], table: list[dict], human: dict[str, dict]) -> dict:
    """Counts by reason and source, and corpus scores: forward against the references set aside, and round trip.

    Scored are distinct texts, so that a string met a hundred times counts once.
    """
    result: dict = {
        "lang": lang,
        "pairs": len(table),
        "accepted": sum(row["accepted"] for row in table),
        "reasons": dict(Counter(row["reason"] for row in table)),
        "sources": {},
        "forward": {},
        "round_trip": {},
        "distinct_outputs": {},
    }
    for source in sorted({row["source"] for row in table}):
        own = [row for row in table if row["source"] == source]
        result["sources"][source] = {
            "pairs": len(own),
            "accepted": sum(row["accepted"] for row in own),
            "reasons": dict(Counter(row["reason"] for row in own)),
        }
    for side in ("query", "passage"):
        distinct = list({row[f"english_{side}"]: row for row in rows}.values())
        result["distinct_outputs"][side] = len({row[side] for row in distinct}) / max(1, len(distinct))
        if not distinct:
            continue
        result["round_trip"][side] = corpus_scores(
            [row[f"{side}_back"] for row in distinct], [row[f"english_{side}"] for row in distinct], "en"
        )
        scored = [row for row in distinct if row["pair_id"] in human]
        if scored:
            references = [human[row["pair_id"]][side] for row in scored]
            result["forward"][side] = corpus_scores([row[side] for row in scored], references, lang)
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.accept", description=__doc__.split("\n")[0])
    parser.add_argument("--shards", nargs="+", required=True, type=Path)
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--human", required=True, type=Path, help="human/<lang>.parquet: held-out texts, references")
    parser.add_argument("--lang", required=True)
    parser.add_argument("--forward", required=True, type=Path, help="translator folder, for its card")
    parser.add_argument("--backward", required=True, type=Path, help="translator folder, for its card")
    parser.add_argument("--options", default="{}", type=AcceptOptions.from_json, help="AcceptOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    collected = read_parquet(args.collected, contracts.COLLECTED).to_pylist()
    human = {row["pair_id"]: row for row in read_parquet(args.human, contracts.PARALLEL).to_pylist()}
    held_out = {row["pair_id"] for row in collected if row["split"] != "train"}
    rows = gather(args.shards, collected)
    verdict = Verdict(args.lang, texts(human[i] for i in held_out if i in human), args.options)
    table = judge(rows, verdict)
    result = statistics(args.lang, rows, table, human)
    result["translators"] = {"forward": read_card(args.forward), "backward": read_card(args.backward)}
    if rows and not result["accepted"]:
        raise DataError(
            f"The filter refused every machine-translated pair in {language(args.lang).name}.",
            found=", ".join(f"{name}: {count}" for name, count in result["reasons"].items()),
            remedy="use better translators, loosen translation.accept, or leave the language out of "
            "translation.languages",
        )
    write_json(args.output.with_suffix(".json"), result)
    write_rows(args.output, table, contracts.TRANSLATED)
    stage.log.info("%s: %d of %d pairs accepted %s", args.lang, result["accepted"], len(table), result["reasons"])


if __name__ == "__main__":
    stage.run(main)
