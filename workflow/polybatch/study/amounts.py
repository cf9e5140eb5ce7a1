"""How much a study has to do: pairs, texts and their lengths, from its files where they are there, else as stated.

inputs: the resolved config; what lies below results/<collection>/; descriptions of data sets and benchmarks
outputs: `Amounts`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.config.paths import Paths
from polybatch.config.values import Config, benchmark_languages, benchmark_settings
from polybatch.core.files import open_parquet, read_json, read_parquet

# Sources that come in these languages too; of the user's own, all that are trained on may be there.
_PARALLEL = ("mmarco", "homeassistant", "libreoffice", "local")

_FOLDERS = ("queries", "corpus")
# Bytes of a text of a published benchmark, on average over queries and passages of all its languages, from its files.
_PUBLISHED_BYTES = {"xquad-r": 173.0}
# In the place of a language where a description gives one number for all.
_SUMMED = ""


class Amount(NamedTuple):
    """A number and where it comes from: "measured", "stated", "given", "assumed" or "unknown"."""

    value: float
    origin: str


class Size(NamedTuple):
    """A benchmark: its texts, and the products of a query and a passage that scoring it takes.

    Attributes:
        texts: Queries and passages that one run embeds.
        products: 0 where nothing is known.
        deep: Whether every ranking is full (`depth: all`), so that a product costs its place in the ranking too.
        text_bytes: Of a text, on average, in UTF-8; None where none is on disk.
    """

    texts: Amount
    passages: float
    products: float
    deep: bool
    text_bytes: float | None


@dataclass(frozen=True)
class Amounts:
    """What a study has to do.

    Attributes:
        pairs: English training pairs.
        translated: Those of them that are machine-translated into each language.
        sources: Name -> pairs that are read of it; 0 where nothing is known.
        supplied: Pairs that come in other languages too.
        sides: Bytes of a query and of a passage, on average; None where no text is on disk.
        benchmarks: Name -> its size.
    """

    pairs: Amount
    translated: Amount
    sources: Mapping[str, float] = field(default_factory=dict)
    supplied: float = 0.0
    sides: tuple[float, float] | None = None
    benchmarks: Mapping[str, Size] = field(default_factory=dict)

    @property
    def texts(self) -> float:
        """Queries and passages that one run embeds, of all benchmarks."""
        return sum(size.texts.value for size in self.benchmarks.values())


def amounts(config: Config, base: Path, pairs: float | None = None, translated: float | None = None) -> Amounts:
    """What a study has to do.

    Args:
        config: Resolved.
        base: results/<collection>.
        pairs: English pairs in the place of those that are there or stated: what would it cost with so many?
        translated: Of them, those that are machine-translated, likewise.
    """
    benchmarks = {name: benchmark_size(config, base, name) for name in config["study"]["benchmarks"]}
    if not config["languages"]["train"]:
        return Amounts(Amount(0, "stated"), Amount(0, "stated"), benchmarks=benchmarks)
    found, machine = training_pairs(config, base)
    read = _source_pairs(config, base)
    supplied = sum(read[source["name"]] for source in config["source"] if source["adapter"] in _PARALLEL)
    if pairs is not None:
        # What is too few or too many is of the largest source, of those that come in other languages if any does.
        largest = max(config["source"], key=lambda source: (source["adapter"] in _PARALLEL, read[source["name"]]))
        more = pairs - sum(read.values())
        read[largest["name"]] = max(0.0, read[largest["name"]] + more)
        supplied = max(0.0, supplied + more) if largest["adapter"] in _PARALLEL else supplied
        found, machine = Amount(pairs, "given"), Amount(min(machine.value, pairs), machine.origin)
    if translated is not None:
        machine = Amount(translated, "given")
    return Amounts(found, machine, read, supplied, _sides(base), benchmarks)


def training_pairs(config: Config, base: Path) -> tuple[Amount, Amount]:
    """All English training pairs, and those of them that are machine-translated into each language."""
    collected = Path(Paths.below(base).collected())
    if collected.exists():
        import pyarrow as pa
        import pyarrow.compute as pc

        table = read_parquet(collected, pa.schema([("split", pa.string()), ("kind", pa.string())]))
        train = table.filter(pc.equal(table["split"], "train"))
        translated = pc.sum(pc.equal(train["kind"], "english_only")).as_py() or 0
        return Amount(train.num_rows, "measured"), Amount(translated, "measured")
    from polybatch.collect.adapters.registry import expected_pairs

    total = translated = 0.0
    for source in config["source"]:
        pairs = expected_pairs(source)
        if pairs is None:
            return Amount(0, "unknown"), Amount(0, "unknown")
        pairs = min(pairs, source.get("max_pairs", pairs))
        total += pairs
        if source.get("translate", True) and source["adapter"] != "mmarco":
            translated += pairs
    limit = config["mixture"].get("max_pairs") or total
    share = min(1.0, limit / total) if total else 1.0
    return Amount(total * share, "stated"), Amount(translated * share, "stated")


def _source_pairs(config: Config, base: Path) -> dict[str, float]:
    """Pairs that are read of each source."""
    from polybatch.collect.adapters.registry import expected_pairs

    counts = Path(Paths.below(base).collected("json"))
    if counts.exists():
        read = read_json(counts)["sources"]
        return {source["name"]: float(read.get(source["name"], {}).get("collected", 0)) for source in config["source"]}
    return {source["name"]: float(expected_pairs(source) or 0) for source in config["source"]}


def _sides(base: Path) -> tuple[float, float] | None:
    """Bytes of a query and of a passage, on average, of the English pairs on disk."""
    collected = Path(Paths.below(base).collected())
    if not collected.exists():
        return None
    query, passage = (_text_bytes([collected], column) for column in ("query", "passage"))
    return None if query is None or passage is None else (query, passage)


def _text_bytes(paths: Sequence[Path], column: str) -> float | None:
    """Bytes of a text on average; of a large file, those of its first row group."""
    import pyarrow.compute as pc

    rows = size = 0
    for path in paths:
        with open_parquet(path) as file:
            if file.num_row_groups:
                texts = file.read_row_group(0, columns=[column])[column]
                rows, size = rows + len(texts), size + (pc.sum(pc.binary_length(texts)).as_py() or 0)
    return size / rows if rows else None


def benchmark_size(config: Config, base: Path, name: str) -> Size:
    """How large a benchmark is, in the languages that the study evaluates."""
    languages = benchmark_languages(config, name)
    sides, text_bytes = _sizes_on_disk(base, name, languages), None
    origin, missing = "measured", _missing_languages(sides, languages)
    stated = _stated_sides(config, name) if missing or sides is None else None
    if sides is not None and not (missing and stated):
        sides, origin = _filled(sides, languages), "assumed" if missing else "measured"
        paths = Paths.below(base)
        by_side = zip(_FOLDERS, languages, strict=True)
        texts = [Path(paths.benchmark_text(name, folder, lang)) for folder, of in by_side for lang in of]
        text_bytes = _text_bytes([path for path in texts if path.exists()], "text")
    else:
        sides, origin = stated, "stated"
        expected = config["benchmarks"][name].get("expected")
        text_bytes = _PUBLISHED_BYTES.get(expected) if isinstance(expected, str) else None
    if sides is None:
        return Size(Amount(0, "unknown"), 0, 0, False, None)
    queries, passages = (float(sum(sides[side].values())) for side in ("queries", "passages"))
    products = queries * passages
    if benchmark_settings(config, name) == ["monolingual"]:
        if _SUMMED in sides["queries"]:
            products /= max(len(languages[0]), 1)
        else:
            products = float(sum(rows * sides["passages"].get(lang, 0) for lang, rows in sides["queries"].items()))
    scoring = {**config["scoring"], **config["benchmarks"][name].get("scoring", {})}
    deep = scoring.get("depth", "all") == "all"
    return Size(Amount(queries + passages, origin), passages, products, deep, text_bytes)


def _sizes_on_disk(
    base: Path, name: str, languages: tuple[Sequence[str], Sequence[str]]
) -> dict[str, dict[str, float]] | None:
    """Side -> language -> rows, of the languages that are there; None where a side has none."""
    paths = Paths.below(base)
    if not Path(paths.qrels(name)).exists():
        return None
    found: dict[str, dict[str, float]] = {"queries": {}, "passages": {}}
    for side, folder, of in zip(found, _FOLDERS, languages, strict=True):
        for lang in of:
            path = Path(paths.benchmark_text(name, folder, lang))
            if path.exists():
                found[side][lang] = open_parquet(path).metadata.num_rows
    return found if all(found.values()) else None


def _missing_languages(
    sides: Mapping[str, Mapping[str, float]] | None, languages: tuple[Sequence[str], Sequence[str]]
) -> bool:
    """Whether a benchmark is on disk without some of the languages that the study evaluates."""
    return sides is not None and any(
        lang not in found for found, of in zip(sides.values(), languages, strict=True) for lang in of
    )


def _filled(
    sides: dict[str, dict[str, float]], languages: tuple[Sequence[str], Sequence[str]]
) -> dict[str, dict[str, float]]:
    """The sides with all languages: those that are not there are taken to be as large as the others."""
    means = {side: sum(found.values()) / len(found) for side, found in sides.items()}
    return {
        side: {lang: found.get(lang, means[side]) for lang in of}
        for (side, found), of in zip(sides.items(), languages, strict=True)
    }


def _stated_sides(config: Config, name: str) -> dict[str, dict[str, float]] | None:
    """Side -> language -> rows, as the benchmark's own description gives them; or _SUMMED -> those of all languages."""
    entry = config["benchmarks"][name]
    if "queries_of" in entry:
        original = _stated_size(config["benchmarks"][entry["queries_of"]])
        if original is None:
            return None
        queries = sum(original["queries"].values()) * (1 + len(entry["translate"]))
        return {"queries": {_SUMMED: queries}, "passages": original["passages"]}
    return _stated_size(entry)


def _stated_size(entry: Mapping[str, Any]) -> dict[str, dict[str, float]] | None:
    expected = entry.get("expected")
    if isinstance(expected, str):
        from polybatch.benchmarks.squad import PUBLISHED

        expected = PUBLISHED[expected]
    if expected:
        return {"queries": dict(expected["queries"]), "passages": dict(expected["candidates"])}
    if entry.get("adapter") == "mteb":
        from polybatch.benchmarks.mteb import expected_size

        size = expected_size(entry["task"], entry.get("languages"))
        return {side: {_SUMMED: number} for side, number in size.items()} if size else None
    return None
