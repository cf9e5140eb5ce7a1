"""Asks the models of a study: on a page of this machine, or in the terminal.

inputs: results/tables/<study>/, and of one or two runs the model, embeddings/, index/ and benchmarks/
outputs: a page on the loopback address until Ctrl-C; with a question, its answer as text
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from shutil import get_terminal_size

from polybatch.config.paths import RESULTS
from polybatch.core import stage
from polybatch.core.errors import ConfigError

_PORT = 8765
_LAST_PORT = 65_535
_LIBRARIES = ("starlette", "uvicorn")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    args = _parser().parse_args(argv)
    if args.question is None:
        _require_libraries()
    # Read by numpy and torch when they are imported. One question leaves little to share out: on a busy machine,
    # threads that wait for one another took four times the processor's time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from polybatch.search.indexed import read_study
    from polybatch.search.loading import Loading, open_all
    from polybatch.search.questions import require_top, usable

    if args.question is not None:
        usable(args.question)  # before the models are loaded
        require_top(args.top)
    chosen = read_study(args.results, args.study).choose(args.run, args.against, args.benchmark)
    if args.question is None:
        from polybatch.search.web import serve

        serve(Loading(chosen), args.study, args.port, browser=not args.no_browser and _has_screen())
        return
    from polybatch.search.terminal import render

    answer = open_all(chosen).ask(args.question, languages=args.languages, top=args.top, lang=args.question_language)
    print(render(answer, max(40, get_terminal_size((100, 24)).columns)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polybatch search",
        description="Ask the models of a study. Without a question, a page opens on this machine.",
    )
    parser.add_argument("question", nargs="?", help="in any language")
    parser.add_argument("--study", default="default", help="the study (default: default)")
    parser.add_argument("--run", help="a run's name, or parts of it that no other has, such as hybrid")
    parser.add_argument("--against", help="a second run, shown beside it; without both, the study's first and last")
    parser.add_argument("--benchmark", help="whose passages are searched (default: the study's first)")
    parser.add_argument("--top", type=int, default=10, help="passages of each model, in the terminal (default: 10)")
    parser.add_argument("--languages", nargs="+", default=[], help="list passages in these alone, in the terminal")
    parser.add_argument(
        "--question-language", default="", help="of the question, for a model that takes off a vector of its language"
    )
    parser.add_argument("--port", type=_port, default=_PORT, help=f"of the page (default: {_PORT}; 0: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    parser.add_argument("--results", type=Path, default=Path(RESULTS), help="folder of all results")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {_LAST_PORT}")
    return int(text)


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "The page needs libraries that are not installed.",
            expected=" and ".join(_LIBRARIES),
            found="no " + ", no ".join(missing),
            remedy='install them (pip install --editable ".[search]", or starlette and uvicorn), or ask in the '
            'terminal: polybatch search "a question"',
        )


def _has_screen() -> bool:
    """Whether a browser would have a window; else Python may start one that takes the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    stage.run(main)
