"""What projections do to vectors, and how they are estimated from means: arithmetic alone.

inputs: means of vectors by language; vectors (rows, dim) float32 of length 1
outputs: vectors (rows, dim) float32 of length 1 that tell less of their language

- `Directions` (`lir`): x - V'Vx, V the directions in which the means of languages differ. One matrix for all
  languages. It is close to LSAR (Xie et al., arXiv 2401.05792), which finds such directions by a decomposition of the
  means. LIR as Yang et al. have it (arXiv 2109.04727) takes for each language the first directions of that language's
  own embeddings, and so needs the language of every text.
- `LanguageVectors` of `centring` (Libovicky et al., arXiv 2004.05160): x - the mean of its language, of queries for
  queries and of passages for passages.
- `LanguageVectors` of `shift` (Jang et al., arXiv 2606.18801): a passage - a V, V the mean difference of its language's
  passages to their English. Queries and English passages stay as they are.

All are of vectors of length 1, and end with such: search is by the inner product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polybatch.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

SIDES = ("queries", "corpus")
# Of the largest singular value: what is below is rounding of float32 and no direction.
_NO_DIRECTION = 1e-5


@dataclass(frozen=True)
class Directions:
    """A projection onto what is at right angles to some directions.

    Attributes:
        matrix: (dim, dim) float32, symmetric.
    """

    matrix: np.ndarray

    @classmethod
    def from_basis(cls, basis: np.ndarray) -> Directions:
        """Of an orthonormal basis (directions, dim), float64."""
        import numpy as np

        return cls((np.eye(basis.shape[1]) - basis.T @ basis).astype(np.float32))

    def apply(self, vectors: np.ndarray, side: str, lang: str) -> np.ndarray:
        """Projects vectors of any side and language: (rows, dim) float32, of length 1.

        Raises:
            DataError: A vector has no other directions than those that go.
        """
        return normalised(vectors @ self.matrix, f"{side}/{lang}")


@dataclass(frozen=True)
class LanguageVectors:
    """What is taken off the vectors of each language.

    Attributes:
        vectors: "<side>.<lang>" -> (dim,) float32; "<side>.other" is of languages that have none of their own. Where
            there is neither, vectors stay as they are.
    """

    vectors: Mapping[str, np.ndarray]

    def of(self, side: str, lang: str) -> np.ndarray | None:
        """What is taken off, (dim,) float32; None if nothing is."""
        return self.vectors.get(f"{side}.{lang}", self.vectors.get(f"{side}.{OTHER}"))

    def apply(self, vectors: np.ndarray, side: str, lang: str) -> np.ndarray:
        """Takes a language's vector off: (rows, dim) float32, of length 1.

        Raises:
            DataError: A vector is just what is taken off it.
        """
        taken = self.of(side, lang)
        return vectors if taken is None else normalised(vectors - taken, f"{side}/{lang}")


OTHER = "other"
Projection = Directions | LanguageVectors


def language_directions(means: Mapping[str, np.ndarray], rank: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The directions in which means differ, the one of most difference first.

    Args:
        means: Language -> (dim,).
        rank: How many directions; None for all.

    Returns:
        An orthonormal basis (directions, dim) float64, and the singular values of all directions.

    Raises:
        DataError: There are fewer directions than asked for, or none.
    """
    import numpy as np

    centred = np.stack([np.asarray(mean, np.float64) for mean in means.values()])
    centred -= centred.mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    number = int((values > _NO_DIRECTION * max(values[0], np.finfo(np.float64).tiny)).sum()) if values[0] > 1e-7 else 0
    if number < (rank or 1):
        raise DataError(
            "The means of the languages differ in fewer directions than are to be projected out.",
            expected=f"{rank or 1}",
            found=f"{number}, of {len(means)} languages ({' '.join(means)})",
            remedy="ask for fewer, or train on more languages",
        )
    return directions[: rank or number], values


def mean_of_means(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """(dim,) float64: every language counts the same."""
    import numpy as np

    return np.stack([np.asarray(mean, np.float64) for mean in means.values()]).mean(axis=0)


def normalised(vectors: np.ndarray, label: str) -> np.ndarray:
    """(rows, dim) float32 of length 1; `label` names them where one has no length."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(norms[:, 0] > 1e-6))
    if len(wrong):
        raise DataError(
            "A projection leaves vectors that have no direction.",
            where=label,
            expected="a length above zero",
            found=f"{len(wrong)} of {len(vectors)}, the first in row {wrong[0]}",
            remedy="project out fewer directions",
        )
    return np.asarray(vectors / norms, np.float32)
