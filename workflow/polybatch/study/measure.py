"""`polybatch measure`: how much retrievers that somebody already uses favour the language of the query.

inputs: models and benchmarks, as a person names them
outputs: results/<collection>/studies/<study>.yaml, the configuration of a study without trainings; its tables
    (results/tables/<study>/), and what came out of it on the terminal

Everything is done by Snakemake with that configuration: what is there already is not computed again, and
`snakemake --configfile` with it does the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.config.paths import Paths
from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path
from polybatch.encoders.options import POOLINGS
from polybatch.study.measured import config_of, to_yaml
from polybatch.study.measured_benchmarks import parse_benchmarks
from polybatch.study.measured_models import parse_models, stated_prompts
from polybatch.study.project import run_to_its_end
from polybatch.study.resolve import resolve
from polybatch.study.snakefile import snakefile, snakemake_call

if TYPE_CHECKING:
    from polybatch.tables.versions.versions import Version

_WIDTH = 100


def main(argv: list[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    project = snakefile()
    named = ("pooling", "query_prompt", "passage_prompt")
    options = {name: getattr(args, name) for name in named if getattr(args, name) is not None}
    models = parse_models(args.models, options)
    benchmarks = parse_benchmarks(args.benchmark, args.languages, args.passages)
    config = config_of(models, benchmarks, args.study)
    resolve(config)
    for model in models:
        _tell(model.name, model.words, model.notes)
    for benchmark in benchmarks:
        _tell(benchmark.name, benchmark.words, benchmark.notes)
    paths = Paths(config["collection"], args.study)
    text = to_yaml(config, ["polybatch", "measure", *words], project, paths.study_config())
    if args.dry_run:
        _look(text, project)
        return
    with atomic_path(Path(paths.study_config())) as partial:
        partial.write_text(text, "utf-8")
    began = time.monotonic()
    cores = [] if "SNAKEMAKE_PROFILE" in os.environ and not args.cores else ["--cores", str(args.cores or "all")]
    _run(project, "--quiet", "rules", "host", "--configfile", paths.study_config(), *cores)
    print(render(paths, config, time.monotonic() - began, bold=sys.stdout.isatty()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polybatch measure",
        description="How much retrievers favour the language of the query: within a language, across languages, and in "
        "one pool of all languages.",
        epilog="NAME=MODEL and NAME=FOLDER give a name for the tables. docs/measure.md",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="a folder, an id of the hub (org/name[@revision]), or e5-small, ...")
    where = "xquad-r and others of the catalogue, a folder, or a file of parallel pairs (default: xquad-r)"
    add("--benchmark", nargs="+", default=["xquad-r"], metavar="BENCHMARK", help=where)
    add("--languages", nargs="+", default=[], metavar="CODE", help="of the queries (default: all of the benchmark)")
    add("--study", default="measure", help="names the tables: results/tables/<study>/ (default: measure)")
    add("--cores", type=_positive, help="cores to use (default: all)")
    add("--passages", type=_positive, default=400, help="of a file of pairs: how many are held out (default: 400)")
    add("--pooling", choices=POOLINGS, help="of a plain transformer, whose folder does not say it")
    add("--query-prompt", metavar="TEXT", help='put before every query, where the folder does not say it; "" for none')
    add("--passage-prompt", metavar="TEXT", help="the same for passages")
    add("--dry-run", action="store_true", help="show the configuration and the jobs, and do nothing")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _tell(name: str, words: str, notes: Sequence[str]) -> None:
    print(f"{name}: {words}", *(f"  note: {note}" for note in notes), sep="\n", file=sys.stderr)


def _look(text: str, project: Path) -> None:
    """Prints the configuration and the jobs; nothing stays."""
    from tempfile import TemporaryDirectory

    print(text, flush=True)
    with TemporaryDirectory() as folder:
        path = Path(folder, "measure.yaml")
        path.write_text(text, "utf-8")
        _run(project, "--dry-run", "--quiet", "rules", "host", "--nolock", "--cores", "1", "--configfile", str(path))


def _run(project: Path, *words: str) -> None:
    sys.stdout.flush()
    if status := run_to_its_end(snakemake_call(project, *words)):
        raise ConfigError(
            "The measurement was not done.",
            found=f"Snakemake ended with {status}; what failed, and why, is told above",
            remedy="mend that and give the same command again: what is finished is kept",
        )


def render(paths: Paths, config: dict[str, Any], seconds: float, *, bold: bool) -> str:
    """What came out, as text for a terminal.

    Args:
        paths: Of the study.
        config: As it was written.
        seconds: That the run took.
        bold: Whether the best values are set bold by terminal codes.
    """
    from polybatch.tables.forms.terminal import to_terminal
    from polybatch.tables.names import BY_LANGUAGE, MODEL_PAIRS
    from polybatch.tables.story import minutes
    from polybatch.tables.versions.versions import newest

    version = newest(Path(paths.tables()))
    _require_same_study(version, config["study"])
    tables = {table.name: table for table in version.tables}
    lines: list[str] = []
    for benchmark in config["study"]["benchmarks"]:
        for kind in ("findings", BY_LANGUAGE, MODEL_PAIRS):
            if (table := tables.get(f"{kind}-{benchmark}")) is None:
                continue
            lines += ["", table.title, "", to_terminal(table, bold=bold, width=_WIDTH), ""]
            notes = table.notes if kind != BY_LANGUAGE else []
            lines += [line for note in notes for line in textwrap.wrap(note, _WIDTH, subsequent_indent="  ")]
    lines += ["", *(line for model in config["study"]["encoders"] for line in _use(paths, model))]
    folder = os.path.relpath(version.path)
    lines += [
        f"It took {minutes(seconds)}. All tables and figures: {folder}/ (summary.html); configuration: "
        f"{paths.study_config()}",
        "",
    ]
    for benchmark in config["study"]["benchmarks"]:
        told = f"On {benchmark}: {tables[f'findings-{benchmark}'].caption}"
        lines += textwrap.wrap(told, _WIDTH)
    return "\n".join(lines)


def _require_same_study(version: Version, study: dict[str, Any]) -> None:
    """Raises a DataError if the newest tables are not of the models and benchmarks that were asked for."""
    made = version.manifest["config"]["study"]
    if any(made[key] != study[key] for key in ("encoders", "benchmarks")):
        raise DataError(
            "The newest tables are of another measurement.",
            where=version.path,
            expected=f"{' '.join(study['encoders'])} on {' '.join(study['benchmarks'])}",
            found=f"{' '.join(made['encoders'])} on {' '.join(made['benchmarks'])}",
            remedy="give the command again; if another one runs in this folder, give each a --study of its own",
        )


def _use(paths: Paths, model: str) -> Iterator[str]:
    """How a model was used: its prompts."""
    prompts = stated_prompts(Path(paths.encoder(model)))
    used = [f'"{prompt}" before {sides}' for sides, prompt in _sides(prompts) if prompt]
    yield f"{model}: {', '.join(used) or 'no prompts'}"


def _sides(prompts: dict[str, str]) -> Sequence[tuple[str, str]]:
    return [("queries", prompts.get("query", "")), ("passages", prompts.get("passage", ""))]


if __name__ == "__main__":
    stage.run(main)
