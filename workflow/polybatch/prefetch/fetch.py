"""Fetches one thing that a study needs from a network: a repository of the hub, a task of mteb, or plain files.

inputs: a request of `prefetch.requests`
outputs: a record that says what was fetched and where it is
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from polybatch.core import hub, stage
from polybatch.core.errors import ConfigError


def fetch_request(request: dict[str, Any], revisions: Path, record: Path) -> None:
    """Carries out a request and writes its record.

    Raises:
        ConfigError, DataError: As `hub.fetch`, `download.fetch_files` and `mteb_tasks.task_repo` do.
    """
    if request["kind"] in hub.KINDS:
        hub.write_record(record, _fetch_repository(request, revisions))
    elif request["kind"] == "task":
        from polybatch.benchmarks.mteb_tasks import task_repo

        repo, revision, patterns = task_repo(request["task"], request["languages"])
        hub.write_record(record, hub.fetch(repo, "dataset", revision, patterns, revisions))
    elif request["kind"] == "files":
        from polybatch.core.download import fetch_files

        fetch_files(request["files"], record)
    else:
        raise ConfigError("Unknown kind of request.", expected="model, dataset, task or files", found=request["kind"])
    stage.log.info("%s: fetched", record.stem)


def _fetch_repository(request: dict[str, Any], revisions: Path) -> hub.Snapshot:
    """A repository's files; of a data set with parts also those that its card declares, and each part is looked for."""

    def fetched(patterns: list[str]) -> hub.Snapshot:
        return hub.fetch(request["repo"], request["kind"], request["revision"], patterns, revisions)

    snapshot = fetched(request["files"])
    if request.get("parts"):
        from polybatch.collect.adapters.parts import declared_patterns, part_files

        declared = [pattern for part in request["parts"] for pattern in declared_patterns(snapshot.folder, *part)]
        if declared:
            snapshot = fetched(list(dict.fromkeys([*request["files"], *declared])))
        for part in request["parts"]:
            part_files(snapshot.folder, *part)
    return snapshot


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.prefetch.fetch", description=__doc__.split("\n")[0])
    parser.add_argument("--request", required=True, type=json.loads, help="what to fetch, as JSON")
    parser.add_argument("--revisions", required=True, type=Path, help="where the commits of branches are kept")
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args(argv)
    fetch_request(args.request, args.revisions, args.record)


if __name__ == "__main__":
    stage.run(main)
