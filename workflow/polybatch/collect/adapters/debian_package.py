"""Reads a Debian package (.deb) without unpacking it: its control fields, and chosen files of its data.

A package is an `ar` archive (deb(5)) of `debian-binary`, `control.tar.*` and `data.tar.*`; the tar archives are
compressed by xz, gzip or zstd, or not at all. It is read as a stream: nothing is written to disk, and no link is
followed. A package may come from anywhere: paths that lead out of it are refused, and so is what unpacks to far more
than any real one.

inputs: a .deb file
outputs: its fields (`control`), its files one at a time (`data_files`)
"""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from polybatch.core.errors import DataError

MOST_UNPACKED = 1 << 30
MOST_OF_FILE = 16 << 20
_MOST_MEMORY = 256 << 20  # of xz, which may ask for gigabytes
_MAGIC = b"!<arch>\n"
_HEADER = 60
_BLOCK = 1 << 18
_BY_ARROW = {".gz": "gzip", ".zst": "zstd"}  # pyarrow reads these, the standard library only the first


def control(package: Path) -> dict[str, str]:
    """The fields of the package's control file, such as Package, Version and Architecture; the first line of each.

    Raises:
        DataError: The file is missing, damaged or no Debian package.
    """
    for name, content in _files(package, "control.tar", lambda name: name == "control", 1 << 20):
        lines = content.decode("utf-8", "replace").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith((" ", "\t")))
        return {name: value.strip() for name, value in fields.items()}
    raise DataError("A Debian package has no control file.", where=package, remedy="fetch it again")


def data_files(
    package: Path, wanted: Callable[[str], bool], most_unpacked: int = MOST_UNPACKED
) -> Iterator[tuple[str, bytes]]:
    """The package's ordinary files whose path (such as `usr/share/doc/x/copyright`) is wanted, in its order.

    Raises:
        DataError: The package is damaged or cut off, a path in it leads out of it, a wanted file is larger than
            `MOST_OF_FILE`, or all of it unpacks to more than `most_unpacked` bytes.
    """
    return _files(package, "data.tar", wanted, most_unpacked)


def _files(package: Path, part: str, wanted: Callable[[str], bool], most_unpacked: int) -> Iterator[tuple[str, bytes]]:
    with _told(package), open(package, "rb") as file:
        member, size = _find(file, part, package)
        stream = _Bounded(_decompressed(member, _Part(file, size, package), package), most_unpacked, package)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as archive:
            for info in archive:
                name = _safe_name(info.name, package)
                if not info.isreg() or not wanted(name):
                    continue
                if info.size > MOST_OF_FILE:
                    raise DataError(
                        "A file in a Debian package is far larger than any real one.",
                        where=f"{package}: {name}",
                        expected=f"at most {MOST_OF_FILE} bytes",
                        found=f"{info.size} bytes",
                    )
                content = archive.extractfile(info)
                assert content is not None  # an ordinary file
                yield name, content.read()
        while stream.read(_BLOCK):  # what is cut off may have lost nothing but its end
            pass


def _find(file: BinaryIO, part: str, package: Path) -> tuple[str, int]:
    """Goes to the member of the `ar` archive that begins with `part`; returns its name and size."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _damaged(package, "it does not begin as one")
    while header := file.read(_HEADER):
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        if len(header) < _HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise _damaged(package, "the header of a part is broken")
        size = int(header[48:58])
        if name.startswith(part):
            return name, size
        file.seek(size + size % 2, io.SEEK_CUR)
    raise _damaged(package, f"it holds no {part}")


class _Part(io.RawIOBase):
    """The bytes of one member of the `ar` archive, from where the file stands."""

    def __init__(self, file: BinaryIO, size: int, package: Path) -> None:
        self._file, self._left, self._package = file, size, package

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(self._left, len(buffer)))
        if self._left and not data:
            raise _damaged(self._package, "it is cut off")
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Xz(io.RawIOBase):
    """What an xz stream holds. `lzma.LZMAFile` would do, but for its memory, which the stream decides on."""

    def __init__(self, part: _Part) -> None:
        self._part, self._xz = part, lzma.LZMADecompressor(memlimit=_MOST_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = b""
        while not found and not self._xz.eof:
            data = self._part.read(_BLOCK) if self._xz.needs_input else b""
            if self._xz.needs_input and not data:
                raise EOFError("the compressed data has no end")
            found = self._xz.decompress(data or b"", len(buffer))
        buffer[: len(found)] = found
        return len(found)


class _Bounded(io.RawIOBase):
    """Another stream, with an error where it is far too long."""

    def __init__(self, stream: Any, most: int, package: Path) -> None:
        self._stream, self._most, self._left, self._package = stream, most, most, package

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                "A Debian package unpacks to far more than any real one.",
                where=self._package,
                expected=f"at most {self._most} bytes",
            )
        buffer[: len(data)] = data
        return len(data)


def _decompressed(member: str, part: _Part, package: Path) -> Any:
    """A stream of what a member such as data.tar.xz holds."""
    import pyarrow as pa

    kind = member.partition(".tar")[2]
    if kind == ".xz":
        return _Xz(part)
    if kind == "":
        return part
    if kind in _BY_ARROW:
        return pa.CompressedInputStream(pa.PythonFile(part, mode="r"), _BY_ARROW[kind])
    raise DataError(
        "A Debian package is compressed in a way that is not read here.",
        where=package,
        expected=f"data.tar with .xz, {', '.join(_BY_ARROW)} or nothing behind it",
        found=member,
        remedy="unpack it with `dpkg-deb --extract PACKAGE FOLDER`, and name that folder instead",
    )


def _safe_name(name: str, package: Path) -> str:
    """A member's path without `./`; a DataError if it is absolute or leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise DataError("A Debian package holds a path that leads out of it.", where=package, found=name)
    return "/".join(part for part in parts if part not in ("", "."))


@contextmanager
def _told(package: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("A Debian package is missing.", where=package, remedy="run `snakemake prefetch`") from error
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise _damaged(package, str(error)) from error


def _damaged(package: Path, found: str) -> DataError:
    return DataError(
        "A Debian package is damaged or none.",
        where=package,
        found=found,
        remedy="delete it and run `snakemake prefetch` again, or put a whole one in its place",
    )
