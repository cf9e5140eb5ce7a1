"""Claims of cards: each for one job, or for a few that share it.

inputs: names of cards, a folder that all users of the machine share
outputs: locks on files there, for as long as the process lives

The kernel gives a lock back at any kind of death, so nothing can be left behind. A job that wants a card to itself
locks the card's file exclusively. Jobs that share it lock that file together, and each of them one of the card's places
exclusively: neither kind gets a card that the other has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from polybatch.core import stage
from polybatch.core.errors import ConfigError

# Not the TMPDIR of a job or of a user: everyone on the machine has to meet here.
CARDS_FOLDER = "/tmp/polybatch-cards"
_POLL_S = 1.0
_LINE_EVERY_S = 60.0
_MASTER = "claims"


def claim(cards: Sequence[str], wanted: int, folder: Path, prefix: str = "", sharers: int = 1) -> list[str]:
    """Locks `wanted` of the cards for as long as this process lives, and waits while fewer are free.

    Args:
        cards: Their names.
        wanted: At most as many.
        folder: Of the lock files; made with the rights of /tmp if it is not there.
        prefix: Of the lock files' names.
        sharers: Jobs that may have a card at a time, the same number for all of them; 1 is a card to itself, which
            waits until no job shares the card.

    Returns:
        The claimed cards, in the order of `cards`.
    """
    place = _shared_folder(folder)
    waited = 0.0
    while True:
        claimed = _attempt(place, cards, wanted, prefix, sharers)
        if claimed:
            return claimed
        if waited % _LINE_EVERY_S == 0:
            stage.log.info(
                "waiting for %d card(s): fewer of these %d are free (locks in %s)", wanted, len(cards), folder
            )
        time.sleep(_POLL_S)
        waited += _POLL_S


def _attempt(place: int, cards: Sequence[str], wanted: int, prefix: str, sharers: int) -> list[str]:
    """All wanted cards or none, so that two jobs which need several never wait for each other's half.

    The cards with the fewest jobs come first.
    """
    master = _lock_file(place, prefix + _MASTER)
    fcntl.flock(master, fcntl.LOCK_EX)
    held: dict[str, list[int]] = {}
    try:
        places = {card: _free_places(place, prefix + card, sharers) for card in cards}
        for card in sorted(cards, key=lambda card: -len(places[card]))[:wanted]:
            if places[card]:
                held[card] = places[card].pop()
        _give_back(descriptor for free in places.values() for locks in free for descriptor in locks)
        if len(held) == wanted:
            return [card for card in cards if card in held]
        _give_back(descriptor for locks in held.values() for descriptor in locks)
        return []
    finally:
        os.close(master)


def _free_places(place: int, card: str, sharers: int) -> list[list[int]]:
    """Of each place of a card that is free: descriptors of what was locked for it. A card for one job has one place."""
    names = [[(card, fcntl.LOCK_EX)]]
    if sharers > 1:
        names = [[(card, fcntl.LOCK_SH), (f"{card}.place-{n}", fcntl.LOCK_EX)] for n in range(sharers)]
    return [locks for wanted in names if (locks := _locks(place, wanted))]


def _locks(place: int, names: Sequence[tuple[str, int]]) -> list[int]:
    """Descriptors of files with the kind of lock that is wanted of each; nothing where one is taken."""
    held: list[int] = []
    for name, kind in names:
        held.append(_lock_file(place, name))
        if not _locked(held[-1], kind):
            _give_back(held)
            return []
    return held


def _give_back(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    """Whether the lock was free, and is now this process's."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shared_folder(path: Path) -> int:
    """A descriptor of the folder, made if it is not there. No link is followed, and whoever made it may be anyone:
    all that others can do with it is to keep cards from being claimed, which they can by using them too."""
    before = os.umask(0)
    try:
        os.mkdir(path, 0o1777)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.umask(before)
    try:
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(path, error) from error
    # Held as long as the cards: systemd-tmpfiles leaves a locked folder alone, however old its files are.
    with contextlib.suppress(OSError):
        fcntl.flock(place, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return place


def _lock_file(place: int, name: str) -> int:
    """A descriptor of a lock file. Reading it is enough to lock it, so that another user's file serves as well."""
    name = re.sub(r"[^\w.-]", "_", name)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            return os.open(name, flags, dir_fd=place)
        except FileNotFoundError:
            # O_CREAT on a file of someone else's is refused in a folder like /tmp (proc(5), fs.protected_regular).
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=place)
            os.fchmod(descriptor, 0o644)
            return descriptor
    except FileExistsError:
        return _lock_file(place, name)
    except OSError as error:
        raise _unusable(Path(os.readlink(f"/proc/self/fd/{place}")) / name, error) from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "The locks of the cards cannot be used.",
        where=path,
        expected="a folder that every user of the cards can write, and files that they can read",
        found=str(error),
        remedy="remove it, or set POLYBATCH_CARDS to the same folder for all users",
    )
