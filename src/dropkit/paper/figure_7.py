"""Figure 7: the features of an autoencoder's hidden units, without and with dropout."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dropkit.paper._autoencoder import SIDE, SIZES, train_both
from dropkit.paper._experiment import Experiment
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import grid_of
from dropkit.paper._trainings import Trainings
from dropkit.study.report.figures import INK


def sparseness(vectors: Tensor) -> Tensor:
    """Return Hoyer's sparseness of each vector: 1 for a single element, 0 if all are equal.

    ``(√n − ‖w‖₁/‖w‖₂) / (√n − 1)``

    Args:
        vectors: (count, n), n above 1.

    Returns:
        (count,); 0 for a vector of zeros.

    Reference: Hoyer (2004), "Non-negative matrix factorization with sparseness constraints".

    >>> sparseness(torch.tensor([[0.0, 0.0, 2.0, 0.0], [1.0, -1.0, 1.0, -1.0]]))
    tensor([1., 0.])
    """
    root = math.sqrt(vectors.shape[1])
    norm = vectors.norm(dim=1)
    ratio = vectors.abs().sum(1) / torch.where(norm > 0, norm, 1.0)
    return torch.where(norm > 0, (root - ratio) / (root - 1), 0.0)


def run(trainings: Trainings, *, units: int, updates: int, data_dir: str | None) -> Outcome:
    """Train both autoencoders and show the incoming weights of their units."""
    found = train_both(trainings, units, updates, data_dir)
    features = {way: torch.tensor(each["features"]) for way, each in found.items()}
    sparse = {way: float(sparseness(weights).mean()) for way, weights in features.items()}
    rows: list[Row] = [
        {
            "network": way,
            "Hoyer's sparseness of a feature, mean": sparse[way],
            "squared reconstruction error per test image": each["reconstruction"],
            "units never active on the test images": float(
                sum(mean == 0 for mean in each["unit_means"])
            ),
        }
        for way, each in found.items()
    ]
    errors = [each["reconstruction"] for each in found.values()]
    checks = [
        Check(
            "sparseness of the features, with dropout as a multiple of without",
            sparse["dropout"] / sparse["without dropout"],
            "strokes and blobs against no structure †",
            low=1.1,
            full=True,
        ),
        Check(
            "reconstruction error, with dropout as a multiple of without",
            errors[1] / errors[0],
            "similar †",
            high=1.5,
            full=True,
        ),
    ]
    images = {
        way: weights.reshape(-1, SIDE, SIDE).numpy().astype(np.float32)
        for way, weights in features.items()
    }
    columns = math.isqrt(units)
    grids = {f"-{way.split()[0]}": grid_of(image, columns) for way, image in images.items()}
    return Outcome(rows, checks, _side_by_side(images, columns), pictures=grids)


def _side_by_side(images: dict[str, np.ndarray], columns: int) -> Figure:
    figure = Figure(figsize=(9, 4.9), layout="constrained", facecolor="white")
    for axes, (way, image) in zip(figure.subplots(1, 2), images.items(), strict=True):
        picture = grid_of(image, columns).axes[0].images[0].get_array()
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(way, loc="left", color=INK, fontsize=10)
        axes.set_axis_off()
    return figure


EXPERIMENT = Experiment(
    name="figure-7",
    title="Features of an autoencoder of digits, without and with dropout",
    source="Srivastava et al. 2014, figure 7; the article's figure of features",
    run=run,
    sizes=SIZES,
)
