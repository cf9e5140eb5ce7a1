"""The configuration of a measurement: a study without trainings, as text that Snakemake takes.

inputs: the models and benchmarks of a command line
outputs: a configuration that takes nothing from config.yaml, and its YAML
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.study.measured_benchmarks import Benchmark
from polybatch.study.measured_models import Model

# Measurements share what they compute. Held-out text of a file has a folder of its own.
COLLECTION = "measured"


def config_of(models: Sequence[Model], benchmarks: Sequence[Benchmark], study: str) -> dict[str, Any]:
    """The configuration, with only what differs from the defaults."""
    languages = dict.fromkeys(lang for one in benchmarks for lang in one.languages)
    held_out = next((one for one in benchmarks if one.text), None)
    config: dict[str, Any] = {
        "standalone": True,
        "study": {
            "name": study,
            "benchmarks": [one.name for one in benchmarks],
            "encoders": [model.name for model in models],
            "runs": [],
        },
        "collection": f"{COLLECTION}-{held_out.name}" if held_out else COLLECTION,
        "languages": {"evaluate": list(languages)},
        "encoders": {model.name: model.entry for model in models if model.entry},
        "benchmarks": {one.name: one.entry for one in benchmarks if one.entry},
        **(held_out.text if held_out else {}),
    }
    return {key: value for key, value in config.items() if value != {}}


def to_yaml(config: dict[str, Any], words: Sequence[str], snakefile: Path, path: str) -> str:
    """A configuration as YAML, with the command that made it and the one that uses it.

    Args:
        config: See `config_of`.
        words: Of the command line.
        snakefile: The project's.
        path: Where the text will lie.
    """
    import yaml

    body: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    same = shlex.join(["snakemake", "--snakefile", str(snakefile), "--configfile", path, "--cores", "all"])
    return f"# Written by: {_one_line(shlex.join(words))}\n# The same again: {_one_line(same)}\n{body}"


def _one_line(text: str) -> str:
    """A comment ends with its line."""
    return " ".join(text.splitlines())
