"""What the rules pass on, a mean and a variance for every unit, and what comes out."""

from typing import NamedTuple

from torch import Tensor


class Gaussian(NamedTuple):
    """Units that are taken for independent and normal.

    Attributes:
        mean: of any shape.
        variance: 0 or more, of the same shape, in the square of the mean's unit.
    """

    mean: Tensor
    variance: Tensor


class Joint(NamedTuple):
    """Outputs of which some, the leading ones, are known to vary together.

    Attributes:
        mean: (rows, outputs).
        variance: (rows, outputs); of a leading output that of ``covariance``, of the others as
            for independent units.
        leading: which outputs are meant, (rows, k).
        covariance: of these, (rows, k, k).
    """

    mean: Tensor
    variance: Tensor
    leading: Tensor
    covariance: Tensor
