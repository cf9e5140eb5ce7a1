"""What every stage's command line shares: logging, errors told to a user, a bar or lines of progress."""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from polybatch.core.errors import PolybatchError, causes

T = TypeVar("T")
log = logging.getLogger("polybatch")

_LINE_EVERY_S = 10.0
# Libraries that write below Python say it in words of their own; each was made to fill a small file system
# (tests/unit/core/test_full_disk.py).
_NO_SPACE = re.compile(
    r"No space left on device|Disk quota exceeded|\(os error (28|122)\)"  # the system, and what is written in Rust
    r"|database or disk is full"  # SQLite
    r"|\d+ requested and \d+ written"  # numpy
    r"|unexpected pos \d+ vs \d+|file write failed|basic_ios::clear: iostream error"  # torch
    r"|\[output->WriteLine\("  # sentencepiece
)


def run(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> None:
    """Runs a stage's `main` as a process: exit 0, or 1 with the fault told in plain words.

    A full disk is told as such, and so is Ctrl-C (exit 130, as of a shell); any other unforeseen exception keeps its
    traceback, because it is a defect of ours and the traceback is what a bug report needs.
    """
    logging.basicConfig(
        level=os.environ.get("POLYBATCH_LOG", "INFO"),
        format="%(asctime)s %(name)s %(levelname)s: %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    for noisy in ("httpx", "sentence_transformers", "transformers", "datasets", "faiss", "filelock", "numba"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main(argv)
    except KeyboardInterrupt:
        stopped = "error: It was stopped (Ctrl-C).\n  to do: run the same command again; finished files are kept"
        print(stopped, file=sys.stderr, flush=True)
        sys.exit(130)
    except Exception as error:
        if is_disk_full(error):
            _end_with_full_disk(error)
        if isinstance(error, PolybatchError):
            sys.exit(f"error: {error}")
        raise


def _end_with_full_disk(error: BaseException) -> NoReturn:
    """Exits 1. Says why on stdout where stderr cannot be written: a log often lies on the disk that is full."""
    cause = next((e for e in causes(error) if _says_no_space(e)), error)
    message = (
        f"error: the disk is full.\n  where: {getattr(cause, 'filename', None) or 'while writing an output'}\n"
        f"  found: {next(iter(str(cause).splitlines()), type(cause).__name__)}\n"
        "  to do: free some space and run the same command again; finished files are kept."
    )
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        print(message, flush=True)
    end = SystemExit(message)
    end.code = 1  # else Python would print the message once more
    raise end from error


@contextmanager
def importing() -> Iterator[None]:
    """A context for large imports: the garbage collector is off in it, and what was imported is never looked through.

    Importing sentence_transformers took 3.5 s of processor time instead of 5.7 s (medians of three, Python 3.11), and
    later collections do not go through half a million objects of libraries again. What a nested block imported is
    kept by the outer one.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or one that it came from, says that there is no space left.

    Libraries say so in their own ways: by the system's error number, by its words inside another exception
    (safetensors, FAISS, a subprocess's stderr), or by a count of what was not written (numpy, torch). What a
    PolybatchError says itself does not count: it may quote a user's text.
    """
    return any(map(_says_no_space, causes(error)))


def _says_no_space(error: BaseException) -> bool:
    if isinstance(error, PolybatchError):
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    said = [str(error), *(getattr(error, name, None) or "" for name in ("stdout", "stderr"))]
    return any(
        _NO_SPACE.search(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)) for text in said
    )


class Pace:
    """How far a piece of work has come, and how fast, in words.

    Args:
        label: What is done.
        total: Of how many; None if that is not known.
        unit: What is counted.
        done: How much was done before.
    """

    def __init__(self, label: str, total: int | None, unit: str = "rows", done: int = 0) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._before = done
        self._start = self._told = time.monotonic()

    def is_due(self) -> bool:
        """Whether ten seconds have passed since the last line, or the beginning."""
        return time.monotonic() - self._told >= _LINE_EVERY_S

    def line(self) -> str:
        """`label: done/total (share) unit, speed, time left`."""
        self._told = time.monotonic()
        rate = self.rate()
        share = f"/{self.total} ({self.done / self.total:.0%})" if self.total else ""
        left = (self.total - self.done) / rate if self.total and rate else 0.0
        told_left = f", {left:.0f} s left" if left > 0 else ""
        return f"{self.label}: {self.done}{share} {self.unit}, {rate:.1f} {self.unit}/s{told_left}"

    def rate(self) -> float:
        """Units a second since the beginning."""
        return (self.done - self._before) / max(time.monotonic() - self._start, 1e-9)


class Progress(Pace):
    """Tells how far a piece of work has come: a bar on a terminal, a line every ten seconds in a log."""

    def __init__(self, label: str, total: int | None, unit: str = "rows") -> None:
        super().__init__(label, total, unit)
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit=unit)

    def add(self, count: int = 1) -> None:
        """Counts what was done since the last call."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self.is_due():
            log.info("%s", self.line())

    def end(self) -> None:
        """Closes the bar, or writes the last line."""
        if self._bar is not None:
            self._bar.close()
        else:
            log.info("%s", self.line())


def progress(items: Iterable[T], *, total: int | None, label: str, unit: str = "rows") -> Iterator[T]:
    """Yields `items`, and tells how far it has come (see `Progress`)."""
    told = Progress(label, total, unit)
    for item in items:
        yield item
        told.add()
    told.end()
