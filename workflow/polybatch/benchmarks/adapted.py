"""Makes a benchmark of the config from what was fetched for it, or from the user's own folder.

inputs: the benchmark's entry in the config; the record that polybatch.prefetch.fetch left, or a folder
outputs: benchmarks/<name>/

Which module reads it is the entry's `adapter`: lareqa (sentence breaks in the files), mlqa (sentences split here),
mteb (a task by its name), beir (a folder in BEIR's layout).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.download import read_files
from polybatch.core.errors import DataError
from polybatch.core.languages import LANGUAGES


def make_benchmark(
    entry: dict[str, Any], origin: Path, languages: Sequence[str], corpus_languages: Sequence[str], output: Path
) -> None:
    """Writes a benchmark in our layout (benchmark.py), read by the module of its adapter.

    Args:
        entry: The config's entry: adapter, and what belongs to it.
        origin: The record of what was fetched, or the entry's `path`.
        languages, corpus_languages: Of the queries and passages that are evaluated. Files in further languages are
            read as well where they are at hand: training text is looked up in all of them.
        output: benchmarks/<name>.

    Raises:
        ConfigError, DataError: As the adapter's module says.
    """
    if entry["adapter"] in ("lareqa", "mlqa"):
        from polybatch.benchmarks import squad

        files = language_files(origin, list(dict.fromkeys([*languages, *corpus_languages])))
        breaks = "given" if entry["adapter"] == "lareqa" else "split"
        card = {"license": entry.get("license", "")}
        expected = entry.get("expected", {})
        expected = squad.read_counts(expected) if isinstance(expected, str) else expected
        squad.build(files, output, breaks=breaks, expected=expected, card=card)
        return
    options = {**({"split": entry["split"]} if "split" in entry else {}), **entry.get("options", {})}
    if entry["adapter"] == "mteb":
        from polybatch.benchmarks import mteb
        from polybatch.core import hub

        mteb.build(entry["task"], hub.read_record(origin), output, languages, corpus_languages, **options)
    else:
        from polybatch.benchmarks import beir

        beir.build(origin, output, languages, corpus_languages, **options)


def language_files(origin: Path, languages: Sequence[str]) -> dict[str, Path]:
    """language -> file, from a record of fetched files or from a folder of <lang>.json, .json.gz or one .zip.

    Raises:
        DataError: A language has no file, or two; or a fetched file is no longer there.
    """
    if origin.is_dir():
        _require_one_each(origin)
        paths = {path.name.partition(".")[0]: path for path in sorted(origin.iterdir())}
        found = {name: path for name, path in paths.items() if name in LANGUAGES and ".json" in path.suffixes}
    else:
        paths = read_files(origin)
        found = {name: path for name, path in paths.items() if path.suffix != ".zip"}
    archives = [path for path in paths.values() if path.suffix == ".zip"]
    if archives and not found:
        found = {lang: archives[0] for lang in languages}
    missing = [lang for lang in languages if lang not in found]
    if missing:
        raise DataError(
            f"The benchmark has no file in {', '.join(missing)}.",
            where=origin,
            expected=" ".join(f"{lang}.json" for lang in languages),
            found=" ".join(path.name for path in found.values()) or "no file",
            remedy="add the files, or take these languages out of benchmarks.<name>.languages",
        )
    return found


def _require_one_each(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if ".json" in path.suffixes)
    for lang in sorted({path.name.partition(".")[0] for path in files} & set(LANGUAGES)):
        there = [path.name for path in files if path.name.partition(".")[0] == lang]
        if len(there) > 1:
            raise DataError(
                "A file of a benchmark is there twice.",
                where=folder,
                expected=f"one file in {lang}",
                found=" and ".join(there),
                remedy="remove the others",
            )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.benchmarks.adapted", description=__doc__.split("\n")[0])
    parser.add_argument("--benchmark", required=True, type=json.loads, help="the config's entry, as JSON")
    parser.add_argument("--origin", required=True, type=Path, help="the record of what was fetched, or a folder")
    parser.add_argument("--languages", required=True, nargs="+", help="of the queries")
    parser.add_argument("--corpus-languages", required=True, nargs="+")
    parser.add_argument("--output", required=True, type=Path, help="benchmarks/<name>")
    args = parser.parse_args(argv)
    make_benchmark(args.benchmark, args.origin, args.languages, args.corpus_languages, args.output)
    stage.log.info("%s made with %s", args.output, args.benchmark["adapter"])


if __name__ == "__main__":
    stage.run(main)
