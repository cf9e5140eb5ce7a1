"""`polybatch verify STUDY`: makes a kept study again and says whether its scores are the same.

inputs: results/tables/<study>/<version> (manifest.json, scores.parquet), the study's configuration
outputs: results/<collection>-verify/, results/verify/<study>/verify.json and verify.md; text on the terminal; exit 0
    where Snakemake ended well and no score failed, else 1

Snakemake runs the study in a collection of its own, so that nothing finished is touched; downloads in results/sources
and the hub's cache are shared. It makes what is missing there: a verification that was stopped goes on where it was.
Where Snakemake fails, scores that an earlier verification left and that are outdated count as missing. With
--scores-only nothing runs, and the scores of the study's own collection are graded as they lie there.

How scores are graded: tables/versions/grades.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polybatch.config.paths import TABLES
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import Config
from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import write_json, write_text
from polybatch.study import verdict
from polybatch.study.kept import Kept, changes_since, kept_runs, read_again, same_machine
from polybatch.study.project import left_to_make, require_project, resolved, snakemake, study_files
from polybatch.tables.chain import check_chain
from polybatch.tables.options import TableOptions
from polybatch.tables.versions import manifest
from polybatch.tables.versions.grades import AVERAGE, FAIL, Graded, KeptRun, Place, Tolerances, grade
from polybatch.tables.versions.versions import Version, newest, read_version

_SUFFIX = "-verify"


def main(argv: list[str] | None = None) -> None:
    """Command line; what follows `--` is Snakemake's."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, extra = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    args = _parser().parse_args(own)
    require_project(Path.cwd(), command="verify")
    files = args.config or study_files(args.study)
    config = resolved(files)
    if config["study"]["name"] != args.study:
        raise ConfigError(
            f"The configuration is that of another study than {args.study!r}.",
            where=", ".join(map(str, files)),
            found=config["study"]["name"],
            remedy="name the study as its configuration does",
        )
    root = args.tables / args.study
    version = read_version(root / args.version) if args.version else newest(root)
    kept = kept_runs(version, config)
    wanted = kept.only(args.rows)
    collection = _collection(args, config)
    paths = StudyPaths.of({**config, "collection": collection})
    start, status = time.monotonic(), None
    outdated: set[str] | None = set()
    if not args.scores_only:
        asked = [*targets(kept, wanted, paths), *_configured(files, collection)]
        status = snakemake(*asked, *extra)
        outdated = left_to_make(*asked) if status else set()
    report, graded = verify(version, kept, wanted, config, paths, scores_only=args.scores_only, outdated=outdated)
    report |= {"rows": args.rows, "snakemake_status": status, "seconds": round(time.monotonic() - start, 1)}
    write_json(paths.verification("json"), report, sealed=False)
    write_text(paths.verification("md"), verdict.to_text(report, markdown=True))
    print(verdict.to_text(report, markdown=False, bold=sys.stdout.isatty()))
    print(f"written to {paths.verification('md')} and {paths.verification('json')}")
    if status or any(one.grade == FAIL for one in graded):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polybatch verify",
        description="Make a kept study again, and grade every score of it: OK, close, or FAIL.",
        epilog="What follows `--` is Snakemake's: polybatch verify default -- --cores 4",
        allow_abbrev=False,
    )
    parser.add_argument("study", help="its name: a folder of the tables, and what study.name of its configuration says")
    parser.add_argument("--version", help="the kept version, such as v2 (default: the newest)")
    parser.add_argument("--tables", type=Path, default=Path(TABLES), help="folder of all studies' tables")
    parser.add_argument(
        "--config",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="the study's files (default: workflow/studies/STUDY.yaml)",
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, such as untrained x-y 'hybrid-*'")
    parser.add_argument("--scores-only", action="store_true", help="run nothing: grade the scores that are there")
    parser.add_argument(
        "--collection", help="folder below results (default: the study's with -verify; with --scores-only the study's)"
    )
    return parser


def _collection(args: argparse.Namespace, config: Config) -> str:
    """Where the scores are made or lie.

    Raises:
        ConfigError: They would be made where the study's own are.
    """
    own: str = config["collection"]
    chosen: str = args.collection or (own if args.scores_only else own + _SUFFIX)
    if not args.scores_only and chosen == own:
        raise ConfigError(
            "A verification does not run in the study's own collection.",
            found=f"--collection {own}",
            remedy="name another one; or run `snakemake` there, and then verify with --scores-only",
        )
    return chosen


def targets(kept: Kept, wanted: dict[str, KeptRun], paths: StudyPaths) -> list[str]:
    """What Snakemake is asked for: the scores of the wanted runs that the configuration still has."""
    there = [name for name in wanted if name in kept.in_config]
    if not there:
        raise ConfigError(
            "The configuration has none of the runs that are to be made again.",
            found=", ".join(wanted),
            remedy="give the configuration that made the version with --config",
        )
    if len(there) == len(kept.in_config) and not kept.new:
        return ["score"]
    return [paths.scores(name, benchmark) for name in there for benchmark in paths.config["study"]["benchmarks"]]


def _configured(files: Sequence[Path], collection: str) -> list[str]:
    return [*(["--configfile", *map(str, files)] if files else []), "--config", f"collection={collection}"]


def verify(
    version: Version,
    kept: Kept,
    wanted: dict[str, KeptRun],
    config: Config,
    paths: StudyPaths,
    *,
    scores_only: bool,
    outdated: Collection[str] | None = (),
) -> tuple[dict[str, Any], list[Graded]]:
    """Grades the scores that lie in a collection against a kept version.

    Args:
        version, kept: The kept version.
        wanted: The runs of it to grade.
        config: The study's resolved configuration.
        paths: Of the collection, by the same configuration.
        scores_only: Whether the scores were not made by this call; then what they were made from is looked at.
        outdated: Score files of an earlier run, which count for nothing; None if any may be such.

    Returns:
        The report, as JSON values, and every grade.
    """
    here, packages = manifest.hardware(), manifest.package_versions()
    changes = changes_since(version, config, packages)
    same = same_machine(version, changes, here)
    benchmarks = list(dict.fromkeys(place.benchmark for name in wanted for place in kept.scores[name]))
    found, problems = read_again(wanted, kept, paths, benchmarks, outdated)
    tolerances = Tolerances.of(kept.runs, kept.scores, same_machine=same)
    graded = list(grade(wanted, kept.scores, found, tolerances, problems))
    new = [place for name in wanted for place in found[name].keys() - kept.scores[name].keys()]
    report = {
        "study": paths.study,
        "version": version.name,
        "kept": str(version.path),
        "kept_created": version.manifest.get("created"),
        "kept_fingerprint": version.manifest["fingerprint"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores_only": scores_only,
        "scores_from": f"{paths.base}/scores",
        "headline": TableOptions.from_values(dict(config.get("tables") or {})).headline,
        "machine": here,
        "kept_machine": version.manifest.get("hardware") or {},
        "same_machine": same,
        "packages": packages,
        "git": manifest.git_state(),
        "changes": changes,
        "chain": _chain(paths) if scores_only else "",
        "runs": {"not_in_config": [name for name in wanted if name not in kept.in_config], "not_in_version": kept.new},
        "counts": verdict.counts(graded),
        "tolerances": verdict.tolerance_rows(graded),
        "new_scores": sum(place.query_lang != AVERAGE for place in new),
        "new_metrics": _metrics(new),
    }
    report |= {"by_row": verdict.summary(graded, report["headline"])}
    report |= {"reasons": verdict.reasons(graded), "apart": verdict.apart(graded)}
    return report, graded


def _metrics(places: Sequence[Place]) -> list[str]:
    return sorted({place.metric for place in places})


def _chain(paths: StudyPaths) -> str:
    """What is wrong with what the scores of a collection were made from; "" where they are what the config says."""
    try:
        check_chain(paths)
    except DataError as error:
        return f"{error.problem} {error.where}"
    return ""


if __name__ == "__main__":
    stage.run(main)
