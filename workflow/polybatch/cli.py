"""The command `polybatch`: one word for each thing that a user asks for beside the pipeline itself.

inputs: a word and its arguments
outputs: what the module behind the word prints; exit 2 where the word is not known

A word is a line of COMMANDS. Its module is imported when it is asked for, so `polybatch --help` imports nothing else.
Each of these modules has a `main(argv)` with argparse and runs as `python -m` too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from polybatch import __version__

_UNKNOWN = 2
_INTERRUPTED = 128 + 2  # as shells tell SIGINT
_HELP = ("-h", "--help", "help")
_VERSION = ("-V", "--version", "version")


@dataclass(frozen=True)
class Command:
    """A word of the command line.

    Attributes:
        module: Whose `main(argv)` it calls.
        words: What it does, on one line of the overview.
    """

    module: str
    words: str


COMMANDS = {
    "measure": Command("polybatch.study.measure", "how much your retriever favours the language of the query"),
    "plan": Command("polybatch.study.ask_plan", "what a study costs, before it starts: jobs, hours, disk"),
    "show": Command(
        "polybatch.tables.versions.show", "what came out of a study, or one of its tables, and where everything lies"
    ),
    "compare": Command("polybatch.tables.versions.compare", "two versions of a study's tables, with significance"),
    "verify": Command("polybatch.study.verify", "a kept study made again: are its scores OK, close, or not the same?"),
    "export": Command("polybatch.export.make", "a run's model, indexes, ranked lists and results, as others load them"),
    "search": Command("polybatch.search.ask", "ask one or two models of a study, on a page or in the terminal"),
    "failures": Command("polybatch.cluster.failures", "what failed in the last run, why, and what to do"),
    "cluster": Command("polybatch.cluster.ask", "what a Slurm cluster offers, and what its nodes see"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: The word and its arguments; default: those of the process.

    Returns:
        The exit status: 0, or 2 where there is no such word. What the command itself finds wrong ends the process
        with 1 (`stage.run`), wrong arguments with 2 (argparse).
    """
    word, *rest = list(sys.argv[1:] if argv is None else argv) or [""]
    if word in _VERSION:
        print(f"polybatch {__version__}")
        return 0
    if word in _HELP and rest and rest[0] not in _HELP:
        word, rest = rest[0], ["--help"]
    if word in _HELP:
        print(overview())
        return 0
    if not word:
        print(overview(), file=sys.stderr)
        return _UNKNOWN
    if word not in COMMANDS:
        print(unknown(word), file=sys.stderr)
        return _UNKNOWN
    from polybatch.core import stage

    stage.run(import_module(COMMANDS[word].module).main, rest)
    return 0


def overview() -> str:
    """All words, each with what it does."""
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: polybatch COMMAND [ARGUMENTS]",
            "",
            *(f"  {word:<{width}}  {command.words}" for word, command in COMMANDS.items()),
            "",
            "`polybatch help COMMAND` tells a command's arguments, `polybatch --version` the version.",
            "The pipeline itself is run with `snakemake`, in the project's folder.",
        ]
    )


def unknown(word: str) -> str:
    """The message for a word that is no command: it names the nearest ones, as git does."""
    from difflib import get_close_matches

    kind = "option" if word.startswith("-") else "command"
    bare = word.lstrip("-").lower()
    near = [bare] if bare in COMMANDS else get_close_matches(bare, COMMANDS, n=2, cutoff=0.5)
    guess = f" Did you mean {' or '.join(f'`polybatch {name}`' for name in near)}?" if near else ""
    return f"polybatch: {word!r} is no {kind}.{guess} `polybatch help` lists the commands: {', '.join(COMMANDS)}."


def script() -> None:
    """The console script: `main`, for a terminal that may be closed or interrupted at any moment."""
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # `polybatch show | head`: nobody reads on. Python would complain once more when it closes its output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status)
