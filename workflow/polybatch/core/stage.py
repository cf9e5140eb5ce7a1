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
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from polybatch.core.errors import PolybatchError

T = TypeVar("T")
log = logging.getLogger("polybatch")

_LINE_EVERY_S = 10.0
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")


def run(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> None:
    """Runs a stage's `main` as a process: exit 0, or 1 with the fault told in plain words.

    A full disk is told as such; any other unforeseen exception keeps its traceback, because it is a defect
    of ours and the traceback is what a bug report needs.
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
    except PolybatchError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if not is_disk_full(error):
            raise
        sys.exit(
            f"error: the disk is full.\n  where: {getattr(error, 'filename', None) or 'while writing an output'}\n"
            f"  found: {error}\n"
            "  to do: free some space and run the same command again; finished files are kept."
        )


class _Late(ModuleType):
    """Stands for a module of functions: each of them imports the module when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **kwargs)

        return called


@contextmanager
def importing(*late: str) -> Iterator[None]:
    """For large imports: nothing of them is garbage, so that none is looked for, now or ever.

    Saves a fifth of the processor time of importing sentence_transformers (6.0 s to 4.8 s, measured), and later
    collections do not go through half a million objects of libraries again. What a nested block imported is kept by
    the outer one.

    Args:
        late: Modules of which the imported libraries take functions that are seldom called. They are imported at the
            first call. sentence_transformers asks for sklearn.metrics, which is a second of processor time.
    """
    stand_ins = {name: _Late(name) for name in late if name not in sys.modules}
    sys.modules.update(stand_ins)
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
        if was_on:
            gc.freeze()
            gc.enable()


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or one that it came from, says that there is no space left.

    Libraries say so in their own ways: the system's error number, its words inside another exception
    (safetensors, FAISS), or a count of elements that were not written (numpy).
    """
    seen: BaseException | None = error
    while seen is not None:
        numbered = isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT)
        if numbered or _NO_SPACE.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def progress(items: Iterable[T], *, total: int | None, label: str, unit: str = "rows") -> Iterator[T]:
    """Yields `items`, with a bar on a terminal and a line every ten seconds in a log."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, unit=unit)
        return
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            log.info("%s", _progress_line(label, done, total, unit, now - start))
    log.info("%s", _progress_line(label, done, total, unit, time.monotonic() - start))


def _progress_line(label: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    share = f"/{total} ({done / total:.0%})" if total else ""
    left = f", {(total - done) / rate:.0f} s left" if total and rate and done < total else ""
    return f"{label}: {done}{share} {unit}, {rate:.1f} {unit}/s{left}"
