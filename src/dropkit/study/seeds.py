"""Derive the random seeds of a run from its number."""

from __future__ import annotations

from dataclasses import dataclass

_MEMBER_STRIDE = 100_003  # above `dropkit.study.limits.MOST`
_RANK_STRIDE = 1_000_000_007


@dataclass(frozen=True)
class Seeds:
    """The random seeds of one run; they are the same for every method.

    Args:
        repetition: the seed of the run as shown to users; with folds, every fold has its own seed.
        member: number of the network in an ensemble.
        rank: number of the process, if several processes train one network.

    >>> Seeds(3).weights == Seeds(3, rank=1).weights, Seeds(3).noise == Seeds(3, rank=1).noise
    (True, False)
    """

    repetition: int
    member: int = 0
    rank: int = 0

    @property
    def split(self) -> int:
        """The seed that splits rows into training, validation and test rows."""
        return self.repetition

    @property
    def weights(self) -> int:
        """The seed of the initial weights."""
        return self.repetition + _MEMBER_STRIDE * self.member

    @property
    def batches(self) -> int:
        """The seed of the order of the training rows."""
        return self.weights

    @property
    def noise(self) -> int:
        """The seed of the dropout masks; it differs between the processes that share a batch."""
        return self.weights + _RANK_STRIDE * self.rank


def locate_fold(seed: int, folds: int) -> tuple[int, int]:
    """Return the repetition and the fold of a run, both numbered from 0.

    >>> locate_fold(7, folds=5)
    (1, 2)
    """
    return divmod(seed, folds)


def name_seed(seed: int, folds: int | None) -> str:
    """Name a run by its seed, and by its repetition and fold if there are folds.

    >>> name_seed(7, None), name_seed(7, 5)
    ('seed 7', 'seed 7 (repetition 2, fold 3)')
    """
    if folds is None:
        return f"seed {seed}"
    repetition, fold = locate_fold(seed, folds)
    return f"seed {seed} (repetition {repetition + 1}, fold {fold + 1})"


def plan_looks(first: int, most: int | None = None) -> tuple[int, ...]:
    """Return the numbers of seeds after which a study with ``until_decided`` is analyzed.

    The numbers double from ``first`` up to ``most``, which is four times ``first`` by default.

    >>> plan_looks(5), plan_looks(5, 30), plan_looks(5, 5)
    ((5, 10, 20), (5, 10, 20, 30), (5,))
    """
    looks, most = [first], most or 4 * first
    while looks[-1] < most:
        looks.append(min(2 * looks[-1], most))
    return tuple(looks)
