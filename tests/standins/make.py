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
from pathlib import Path

import benchmarks
import data_sets
import encoders
import translators
from hub_cache import HubCache

from polybatch.known_encoders import KNOWN_ENCODERS


def make(folder: Path) -> None:
    """Fills `folder`, which HF_HOME is to name. Commits are those that the studies ask for."""
    cache = HubCache(folder)
    data_sets.make(cache)
    benchmarks.make(cache, folder / "files")
    encoders.make(cache, commits={name: entry.revision for name, entry in KNOWN_ENCODERS.items() if entry.revision})
    translators.make(cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
