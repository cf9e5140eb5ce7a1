"""The options of projections."""

from __future__ import annotations

from collections.abc import Iterator

from polybatch.core.options import Conflict, Options, option


class ProjectionOptions(Options):
    """How projections are estimated (`projection` in the configuration). Which there are, `study.runs` says."""

    texts: int = option(
        500,
        "Training texts of each language, at most, from which its mean is estimated: passages, for `centring` queries "
        "too, for `shift` passages with their English.",
        ge=2,
    )
    min_texts: int = option(50, "With fewer in any training language, nothing is estimated.", ge=2)
    strength: float = option(1.0, "Of `shift`: how much of a language's vector is taken off its passages.", gt=0, le=1)

    def conflicts(self) -> Iterator[Conflict]:
        if self.min_texts > self.texts:
            yield Conflict(("min_texts", "texts"), f"{self.min_texts} are needed, and texts takes {self.texts} at most")
