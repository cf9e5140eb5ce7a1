"""Makes everything that the studies take from a network: tiny random models and a few dozen rows of each data set.

    python tests/standins/make.py standins

The models lie under their real ids, and the data sets in their real layout and columns, in a Hugging Face cache as
the hub's own client lays it out; files that come from elsewhere lie below standins/files. A study runs on them with

    HF_HOME=standins HF_HUB_OFFLINE=1 snakemake --configfile workflow/studies/paper.yaml \
        workflow/studies/standins/common.yaml workflow/studies/standins/paper.yaml

What comes out has the right shape and no meaning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import benchmarks
import data_sets
import encoders
import translators
from hub_cache import HubCache

from polybatch.encoders.known import KNOWN_ENCODERS
from polybatch.prefetch.requests import TRANSLATOR_REVISIONS


def make(folder: Path) -> None:
    """Fills `folder`, which HF_HOME is to name. Commits are those that the studies ask for."""
    cache = HubCache(folder)
    benchmarks.make(cache, folder / "files")
    data_sets.make(cache, plant=contamination(folder / "files"))
    encoders.make(cache, commits={name: entry.revision for name, entry in KNOWN_ENCODERS.items() if entry.revision})
    translators.make(cache, commits={name: rev for name, rev in TRANSLATOR_REVISIONS.items() if len(rev) == 40})


def contamination(files: Path) -> list[dict[str, str]]:
    """Training pairs that overlap with XQuAD-R's stand-in: decontamination must find them, in whatever language.

    One of mMARCO whose German translation alone is an evaluation passage, and one in English.
    """
    german, english = (
        json.loads((files / "xquad-r" / f"{lang}.json").read_text("utf-8"))["data"][0]["paragraphs"][0]
        for lang in ("de", "en")
    )
    return [
        {"source": "mmarco", "lang": "de", "query": "Welche Planken sind gemeint?", "passage": german["context"]},
        {
            "source": "natural_questions",
            "query": english["qas"][0]["question"],
            "passage": "A passage of its own here.",
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
