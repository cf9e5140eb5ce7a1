"""Opens the models in the background, while the page says how far that has come.

inputs: the runs to open
outputs: `Answers` when they are there, then the list of queries by how much two models differ; or the fault
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from polybatch.core import stage
from polybatch.core.errors import PolybatchError
from polybatch.search.answers import Answers
from polybatch.search.differences import Difference, differences
from polybatch.search.indexed import Indexed
from polybatch.search.retriever import Retriever, open_retriever


def open_all(chosen: Sequence[Indexed], told: list[str] | None = None) -> Answers:
    """Opens models one after the other.

    Args:
        chosen: The runs.
        told: Is kept to one line, what is being done.
    """
    lines = [""] if told is None else told
    found: list[Retriever] = []
    for place, indexed in enumerate(chosen, 1):

        def tell(words: str, place: int = place, run: str = indexed.run) -> None:
            lines[0] = f"model {place} of {len(chosen)}, {run}: {words}"
            stage.log.info("%s", lines[0])

        found.append(open_retriever(indexed, tell))
    return Answers(found)


class Loading:
    """What a page has to answer with, as it comes to be there.

    Attributes:
        chosen: The runs.
        answers: The models, None until all are open.
        differences: The benchmark's queries; None until they are compared, and with one model.
        fault: What went wrong, None for nothing.
    """

    def __init__(self, chosen: Sequence[Indexed]) -> None:
        self.chosen = list(chosen)
        self.answers: Answers | None = None
        self.differences: list[Difference] | None = None
        self.compared = 0.0
        self.fault: PolybatchError | None = None
        self._lines = ["starting"]
        self._start = time.monotonic()

    @property
    def line(self) -> str:
        """What is being done, and for how long already."""
        return f"{self._lines[0]} ({time.monotonic() - self._start:.0f} s)"

    def start(self) -> threading.Thread:
        """Loads in a thread, which ends with the process."""
        thread = threading.Thread(target=self.load, name="loading", daemon=True)
        thread.start()
        return thread

    def load(self) -> None:
        """Opens the models, then compares them. A fault is kept for the page, and logged."""
        try:
            self.answers = open_all(self.chosen, self._lines)
            stage.log.info("ready after %.1f s", time.monotonic() - self._start)
            if len(self.chosen) > 1:
                self.differences = differences(self.answers.retrievers, self.answers.queries, self._tell_compared)
                stage.log.info("%d queries of the benchmark compared", len(self.differences))
        except PolybatchError as error:
            self.fault = error
            stage.log.error("%s", error)
        except Exception as error:
            self.fault = PolybatchError(
                "The models could not be opened, for a reason that was not foreseen.",
                found=f"{type(error).__name__}: {error}",
                remedy="the terminal has the details; please report it with them",
            )
            stage.log.exception("while the models were opened")

    def _tell_compared(self, share: float) -> None:
        """Keeps the share, and lets a question that is being answered go first."""
        self.compared = share
        if self.answers is not None:
            with self.answers.turn:
                pass
