"""Makes a benchmark with machine-translated queries of an English one, whose corpus stays as it is.

inputs: benchmarks/<name>, a translator folder for each language
outputs: another benchmark: the English queries, their translations as "<query id>.<lang>", the same corpus

A query and its translations are one group, and what is relevant to the one is relevant to all. What comes out
measures retrieval across languages with the noise of translated questions in it; the card says so, and by which
model they were translated. An empty translation asks nothing: that query is left out in that language, which the
card counts; many of them are an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.benchmark import excluded_schema, load
from polybatch.core import contracts, made_from, stage
from polybatch.core.arguments import parse_paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, read_json, read_parquet, write_json, write_parquet, write_rows
from polybatch.core.languages import language
from polybatch.core.text import text_key
from polybatch.translation.distinct import tell, translate_distinct
from polybatch.translation.options import DecodingOptions
from polybatch.translation.translator import Translator

if TYPE_CHECKING:
    import pyarrow as pa

ENGLISH = "en"
_MOST_EMPTY = 0.05  # share of queries that a translator may leave without a word


def translated_queries(queries: list[dict], translations: dict[str, str], lang: str) -> list[dict]:
    """The queries in one language, in the order of the English ones, without those whose translation is empty.

    Raises:
        DataError: More than a few translations are empty.
    """
    rows = [
        {
            **query,
            "query_id": f"{query['query_id']}.{lang}",
            "lang": lang,
            "text": translations[query["text"]],
            "group": query["group"] or query["query_id"],
        }
        for query in queries
        if text_key(translations[query["text"]])
    ]
    if len(queries) - len(rows) > _MOST_EMPTY * len(queries):
        raise DataError(
            f"The translator left many queries in {language(lang).name} without a word.",
            expected=f"at most {_MOST_EMPTY:.0%} of {len(queries)}",
            found=f"{len(queries) - len(rows)} empty translations",
            remedy="name another translator for this direction",
        )
    return rows


def with_translations(judged: pa.Table, asked: dict[str, list[dict]]) -> Iterator[pa.Table]:
    """Rows of qrels or excluded.parquet, and the same rows for the queries of each language of `asked`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    yield judged
    for lang, queries in asked.items():
        there = pa.array([query["query_id"] for query in queries], pa.string())
        ids = pc.binary_join_element_wise(judged["query_id"], f".{lang}", "")
        renamed = judged.set_column(judged.schema.get_field_index("query_id"), "query_id", ids)
        yield renamed.filter(pc.is_in(ids, there))


def derive(
    original: Path, translators: dict[str, Path], decoding: DecodingOptions, threads: int, output: Path
) -> dict[str, Any]:
    """Writes the benchmark and returns its card.

    Args:
        original: benchmarks/<name>, with queries in English.
        translators: language -> translator folder, for English into it.
        decoding: How to translate.
        threads: Of each translator.
        output: The new benchmark's folder.

    Raises:
        ConfigError: The benchmark has queries in one of the languages, or a translator does not serve it.
        DataError: The benchmark is damaged, or many queries could not be translated.
    """
    _require_new(original, translators)
    queries = read_parquet(original / "queries" / f"{ENGLISH}.parquet", contracts.QUERIES).to_pylist()
    grouped = [{**query, "group": query["group"] or query["query_id"]} for query in queries]
    asked, told = {}, {}
    for lang, folder in translators.items():
        translator = Translator(folder, f"{ENGLISH}-{lang}", decoding, threads)
        translations = translate_distinct(translator, (query["text"] for query in queries))
        tell(translator)
        asked[lang] = translated_queries(queries, translations, lang)
        told[lang] = _translator_facts(translator) | {"left_out": len(queries) - len(asked[lang])}
    with atomic_path(output) as partial:
        _copy_rest(original, partial)
        for lang, rows in {ENGLISH: grouped, **asked}.items():
            write_rows(partial / "queries" / f"{lang}.parquet", rows, contracts.QUERIES)
        counts = _write_judgements(original, asked, partial)
        card = _card(original, output.name, asked, told, counts) | {
            "made_from": _record(original, translators, decoding)
        }
        write_json(partial / "card.json", card)
        load(partial, [*_languages(partial / "queries")], [*_languages(partial / "corpus")])
    return card


def _languages(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.parquet"))


def _require_new(original: Path, translators: dict[str, Path]) -> None:
    there = _languages(original / "queries")
    known = [lang for lang in translators if lang in there]
    if known or ENGLISH not in there:
        raise ConfigError(
            f"The queries of {original.name} cannot be translated: "
            + (f"it has them in {', '.join(known)} already." if known else "it has none in English."),
            where=original,
            expected="queries in English, and languages that it does not have",
            found=" ".join(there) or "no queries",
            remedy="take the language out of the derived benchmark, or evaluate the original one in it",
        )


def _translator_facts(translator: Translator) -> dict[str, Any]:
    names = ("name", "repo_id", "commit", "license", "non_commercial", "quantization")
    return {name: translator.card[name] for name in names if name in translator.card}


def _copy_rest(original: Path, output: Path) -> None:
    """Links every file that stays as it is, and copies it where links are not possible."""
    for path in sorted(original.rglob("*.parquet")):
        name = path.relative_to(original)
        if str(name) in (f"queries/{ENGLISH}.parquet", "qrels.parquet", "excluded.parquet"):
            continue
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, output / name)
        except OSError:
            shutil.copyfile(path, output / name)


def _write_judgements(original: Path, asked: dict[str, list[dict]], output: Path) -> dict[str, int]:
    counts = {}
    for name, schema in (("qrels", contracts.QRELS), ("excluded", excluded_schema())):
        if name == "qrels" or (original / f"{name}.parquet").is_file():
            judged = read_parquet(original / f"{name}.parquet", schema)
            counts[name] = write_parquet(output / f"{name}.parquet", with_translations(judged, asked), schema)
    return counts


def _record(original: Path, translators: dict[str, Path], decoding: DecodingOptions) -> dict[str, Any]:
    return made_from.record(
        {"decoding": decoding.given()},
        queries=original / "queries" / f"{ENGLISH}.parquet",
        qrels=original / "qrels.parquet",
        translators=translators,
    )


def _card(
    original: Path, name: str, asked: dict[str, list[dict]], told: dict[str, dict], counts: dict[str, int]
) -> dict[str, Any]:
    path = original / "card.json"
    card = read_json(path) if path.is_file() else {}
    models = sorted({str(facts.get("repo_id") or facts.get("name")) for facts in told.values()})
    asked_in = {lang: len(rows) for lang, rows in asked.items()}
    return {
        **card,
        "name": name,
        "derived_from": original.name,
        "note": f"The queries in {' '.join(asked)} were machine-translated from English by {', '.join(models)}.",
        "machine_translated_queries": told,
        **({"queries": {**card["queries"], **asked_in}} if isinstance(card.get("queries"), dict) else {}),
        **({"judgements": counts["qrels"]} if "judgements" in card else {}),
        **({"excluded_pairs": counts["excluded"]} if "excluded_pairs" in card and "excluded" in counts else {}),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.queries", description=__doc__.split("\n")[0])
    parser.add_argument("--benchmark", required=True, type=Path, help="benchmarks/<name>, with English queries")
    parser.add_argument("--languages", nargs="+", required=True, help="to translate the queries into")
    parser.add_argument("--translators", nargs="+", required=True, metavar="LANG=FOLDER", help="from English")
    parser.add_argument("--decoding", default="{}", type=DecodingOptions.from_json, help="DecodingOptions, as JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    folders = parse_paths(args.translators)
    missing = [lang for lang in args.languages if lang not in folders]
    if missing:
        raise ConfigError(
            f"There is no translator for {', '.join(missing)}.", expected="--translators LANG=FOLDER for every language"
        )
    wanted = {lang: folders[lang] for lang in args.languages}
    card = derive(args.benchmark, wanted, args.decoding, args.threads, args.output)
    for lang, facts in card["machine_translated_queries"].items():
        if facts["left_out"]:
            stage.log.warning("%s: %d queries left out, whose translation is empty", lang, facts["left_out"])
        if facts.get("non_commercial"):
            stage.log.warning("%s: translated by %s, licensed %s", lang, facts.get("repo_id"), facts["license"])


if __name__ == "__main__":
    stage.run(main)
