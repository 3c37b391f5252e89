"""What the rules pass on: a mean and a variance for every unit."""

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
