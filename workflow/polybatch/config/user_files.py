"""Whether files and folders that a configuration names are there, and are what they are taken for.

inputs: a path as the configuration gives it, relative to the folder in which Snakemake runs
outputs: a sentence that says what is wrong with it, "" if nothing is
"""

from __future__ import annotations

import difflib
import errno
import os
import stat
from pathlib import Path
from typing import Literal

Kind = Literal["file", "folder", "file or folder"]


def path_fault(path: str, wanted: Kind) -> str:
    """What is wrong with a path that should be a readable file or folder."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no {wanted} {path}{_near(path)}"
    except OSError as error:
        reason = "a name of more than 255 bytes" if error.errno == errno.ENAMETOOLONG else error.strerror
        return f"{path[:60]} cannot be read: {reason}"
    except ValueError as error:
        return f"{path!r} is no path: {error}"
    if wanted == "file" and stat.S_ISDIR(mode):
        return f"{path} is a folder; a file is needed"
    if wanted == "folder" and not stat.S_ISDIR(mode):
        return f"{path} is a file; a folder is needed"
    return "" if os.access(path, os.R_OK) else f"{path} cannot be read: permission denied"


def _near(path: str) -> str:
    """A file beside it whose name is almost the same."""
    folder = Path(path).parent
    try:
        names = os.listdir(folder)
    except OSError:
        return ""
    close = difflib.get_close_matches(Path(path).name, names, 1)
    return f"; did you mean {folder / close[0]}?" if close else ""
