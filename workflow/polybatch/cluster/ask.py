"""The command `polybatch cluster`: what a Slurm cluster offers (`check`), and what its nodes see (`probe`).

inputs: flags, or the variables that profiles/slurm reads
outputs: lines on standard output; exit code 1, with what to set, if jobs would be refused or fail
"""

from __future__ import annotations

import argparse

from polybatch.cluster import offer, probe
from polybatch.core import stage


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="polybatch cluster", description="What a Slurm cluster offers, and what its nodes see."
    )
    commands = parser.add_subparsers(metavar="check | probe", required=True)
    for module, name, words in (
        (offer, "check", "partitions, accounts, and whether Slurm would take our jobs; submits nothing"),
        (probe, "probe", "what a node of each partition sees, found out by a tiny job on it"),
    ):
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    stage.run(main)
