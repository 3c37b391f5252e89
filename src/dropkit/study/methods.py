"""The methods that `dropkit compare` knows: each is one entry of `METHODS`.

Defaults follow the practical guide of Srivastava et al. 2014 (Appendix A, known here second-hand):
hidden units dropped with probability 0.5, inputs with 0.2, a larger learning rate and momentum
than the plain net's, a norm of at most 3 for the incoming weights of every unit. The guide's
learning rate is 10 to 100 times the plain one; here it is twice, since the plain net's own rate
is chosen to serve it well: together they give the first author's 0.1 with momentum 0.95, and a
plain net at a tenth of that would be undertrained, which would flatter dropout.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from dropkit import noise
from dropkit.adapters.lightning import MaxNorm
from dropkit.noise import Dropout, GaussianDropout, GaussianNoise, RatedNoise
from dropkit.study._errors import StudyError
from dropkit.study.recipe import Recipe, weights


@dataclass(frozen=True)
class Argument:
    """A number that a method takes.

    ``low`` and ``high`` bound what is accepted. ``tune`` is the range that tuning searches, on a
    logarithmic scale if ``log``; an argument without one keeps its value.
    """

    name: str
    default: float
    meaning: str
    low: float = 0.0
    high: float = math.inf
    tune: tuple[float, float] | None = None
    log: bool = False
    whole: bool = False

    def check(self, value: float, given: str) -> float:
        """Return ``value`` if it is allowed, else raise `StudyError` naming what was given."""
        allowed = math.isfinite(value) and self.low <= value <= self.high
        if not allowed or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            bounds = f"in [{self.low:g}, {self.high:g}]"
            if self.high == math.inf:
                bounds = f"of at least {self.low:g}, and finite"
            raise StudyError(f"{given}: {self.name} must be {kind} {bounds} ({self.meaning})")
        return value


@dataclass(frozen=True)
class Method:
    """A regularizer: a name, what it does, who proposed it, its arguments, its change."""

    name: str
    summary: str
    source: str
    apply: Callable[..., Recipe]
    arguments: tuple[Argument, ...] = ()


def _none(recipe: Recipe) -> Recipe:
    return recipe


def _drop(
    layer: Callable[[float], nn.Module],
    recipe: Recipe,
    *,
    p: float,
    input: float,
    lr: float,
    momentum: float,
) -> Recipe:
    return replace(
        recipe,
        hidden=(*recipe.hidden, *([partial(layer, p)] if p else [])),
        inputs=(*recipe.inputs, *([partial(layer, input)] if input else [])),
        lr=recipe.lr * lr,
        momentum=max(recipe.momentum, momentum),
        warm_up=recipe.warm_up or momentum > recipe.momentum,
    )


def _max_norm(recipe: Recipe, *, c: float) -> Recipe:
    return replace(recipe, callbacks=(*recipe.callbacks, partial(MaxNorm, c)))


def _weight_decay(recipe: Recipe, *, coefficient: float) -> Recipe:
    return replace(recipe, weight_decay=recipe.weight_decay + coefficient)


def _l1_norm(model: nn.Module, coefficient: float) -> Tensor:
    return coefficient * torch.stack([w.abs().sum() for w in weights(model)]).sum()


def _l1(recipe: Recipe, *, coefficient: float) -> Recipe:
    return replace(recipe, penalty=partial(_l1_norm, coefficient=coefficient))


def _noise(recipe: Recipe, *, std: float) -> Recipe:
    return replace(recipe, inputs=(*recipe.inputs, partial(GaussianNoise, std)))


def _early_stopping(recipe: Recipe, *, patience: float) -> Recipe:
    stop = partial(EarlyStopping, monitor="val_loss", patience=int(patience), check_finite=False)
    return replace(recipe, callbacks=(*recipe.callbacks, stop), restore_best=True)


def _ensemble(recipe: Recipe, *, members: float) -> Recipe:
    return replace(recipe, members=int(members))


def _drop_arguments(high: float, p: float = 0.5, input: float = 0.2) -> tuple[Argument, ...]:
    return (
        Argument("p", p, "probability of dropping a hidden unit", 0, high, tune=(0.1, 0.7)),
        Argument("input", input, "probability of dropping an input", 0, high, tune=(0.0, 0.4)),
        Argument("lr", 2.0, "learning rate as a multiple of the plain one", 1e-6),
        Argument(
            "momentum", 0.95, "final momentum; above the plain 0.9 it rises from 0.5", 0, 0.9999
        ),
    )


def variants() -> Iterator[Method]:
    """Make a method of every noise layer that can stand behind any hidden layer."""
    for name in noise.__all__:
        layer = getattr(noise, name)
        made = isinstance(layer, type) and issubclass(layer, RatedNoise)
        if not made or layer in (Dropout, GaussianDropout) or not layer.behind_any_layer:
            continue
        if getattr(layer.perturb, "__isabstractmethod__", False):
            continue
        doc = inspect.cleandoc(layer.__doc__ or "")
        source = re.search(r"Reference: (.+?) \((\d{4})\)", doc)
        yield Method(
            re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower(),
            doc.partition("\n")[0],
            f"{source[1]} {source[2]}" if source else "",
            partial(_drop, layer),
            _drop_arguments(1.0, p=inspect.signature(layer).parameters["p"].default, input=0.0),
        )


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("none", "No regularizer: the baseline.", "", _none),
        Method(
            "dropout",
            "Drop each unit with probability p in every update (Bernoulli).",
            "Srivastava et al. 2014",
            partial(_drop, Dropout),
            _drop_arguments(1.0),
        ),
        Method(
            "gaussian-dropout",
            "Multiply each unit by noise of mean 1 and variance p/(1 - p).",
            "Srivastava et al. 2014",
            partial(_drop, GaussianDropout),
            _drop_arguments(0.99),
        ),
        Method(
            "max-norm",
            "Keep the norm of each unit's incoming weights at c or below.",
            "Srebro and Shraibman 2005",
            _max_norm,
            (Argument("c", 3.0, "largest norm", 1e-6, tune=(1.0, 5.0)),),
        ),
        Method(
            "weight-decay",
            "Add half the coefficient times the sum of squared weights to the loss.",
            "Krogh and Hertz 1991",
            _weight_decay,
            (Argument("coefficient", 5e-4, "strength", 0, tune=(1e-6, 1e-2), log=True),),
        ),
        Method(
            "l1",
            "Add the coefficient times the sum of absolute weights to the loss.",
            "Tibshirani 1996",
            _l1,
            (Argument("coefficient", 1e-5, "strength", 0, tune=(1e-7, 1e-3), log=True),),
        ),
        Method(
            "noise",
            "Add Gaussian noise to the inputs in every update.",
            "Bishop 1995",
            _noise,
            (Argument("std", 0.1, "standard deviation of the noise", 0, tune=(0.01, 1), log=True),),
        ),
        Method(
            "early-stopping",
            "Stop when the validation loss no longer falls; keep the best epoch.",
            "Prechelt 1998",
            _early_stopping,
            (Argument("patience", 5, "epochs without improvement", 1, tune=(1, 20), whole=True),),
        ),
        Method(
            "ensemble",
            "Average the predictions of separately trained nets.",
            "Hansen and Salamon 1990",
            _ensemble,
            (Argument("members", 5, "number of nets", 2, 1000, whole=True),),
        ),
        *variants(),
    )
}
