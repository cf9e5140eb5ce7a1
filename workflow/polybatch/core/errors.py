"""The one way in which Polybatch tells a user that something is wrong.

An error names what was expected, what was found, where, and what to do about it. A stage never turns a
fault into an empty table or a score of zero: it raises, and `stage.run` prints the message and exits 1.
"""

from __future__ import annotations

from collections.abc import Iterator


def made_again(path: object) -> str:
    """The remedy for a damaged file that the pipeline made; one of the user's own has no other maker than the user."""
    return (
        f"if the pipeline made it: `rm -r {path}`, or the folder of results that it lies in, then the same `snakemake` "
        "command again; your own file: restore it"
    )


class PolybatchError(Exception):
    """A fault that the user can act on.

    Args:
        problem: One sentence, what is wrong.
        expected: What the stage needs.
        found: What it met instead.
        where: The file, config key or row.
        remedy: What the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str = "",
        found: str = "",
        where: object = "",
        remedy: str = "",
    ) -> None:
        self.problem, self.expected, self.found = problem, expected, found
        self.where, self.remedy = str(where), remedy
        super().__init__(self.render())

    def render(self) -> str:
        """The message as printed: the problem, then the known facts, indented."""
        facts = [
            ("where", self.where),
            ("expected", self.expected),
            ("found", self.found),
            ("to do", self.remedy),
        ]
        # All lines of a fact are indented, so that the message has an end that its readers see (cluster/causes.py).
        told = (f"  {name}: {text.strip()}".replace("\n", "\n    ") for name, text in facts if text)
        return "\n".join([self.problem, *told])


class ConfigError(PolybatchError):
    """The configuration cannot be run. Raised once, with every fault that was found."""


class DataError(PolybatchError):
    """An input file is missing, damaged, or does not hold what its contract says."""


class TrainingError(PolybatchError):
    """Training cannot start or produced a model that cannot be used."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from, each once: causes, contexts, and the members of groups.

    A chain may lead back to itself (`raise error from error`), and is then followed once.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [*members, one.__context__, one.__cause__]
