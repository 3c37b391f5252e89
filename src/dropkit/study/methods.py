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
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from dropkit import noise
from dropkit.adapters.lightning import MaxNorm
from dropkit.noise import (
    ConcreteDropout,
    DropConnect,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    RatedNoise,
    Standout,
    TargetedDropout,
    kl_divergence,
)
from dropkit.study._errors import StudyError
from dropkit.study.method import Argument, Method
from dropkit.study.recipe import Recipe, weights


def _none(recipe: Recipe) -> Recipe:
    return recipe


def _paced(recipe: Recipe, lr: float, momentum: float) -> Recipe:
    return replace(
        recipe,
        lr=recipe.lr * lr,
        momentum=max(recipe.momentum, momentum),
        warm_up=recipe.warm_up or momentum > recipe.momentum,
    )


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
        _paced(recipe, lr, momentum),
        hidden=(*recipe.hidden, *([partial(layer, p)] if p else [])),
        inputs=(*recipe.inputs, *([partial(layer, input)] if input else [])),
    )


def _max_norm(recipe: Recipe, *, c: float) -> Recipe:
    return replace(recipe, callbacks=(*recipe.callbacks, partial(MaxNorm, c)))


def _weight_decay(recipe: Recipe, *, coefficient: float) -> Recipe:
    return replace(recipe, weight_decay=recipe.weight_decay + coefficient)


_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def _wrap(
    kinds: tuple[type[nn.Module], ...],
    layer: Callable[..., nn.Module],
    recipe: Recipe,
    *,
    lr: float = 1.0,
    momentum: float = 0.0,
    **arguments: float,
) -> Recipe:
    if any(other == kinds for other, _ in recipe.wrappers):
        raise StudyError(
            f"two methods that wrap {', '.join(kind.__name__ for kind in kinds)} layers cannot be "
            "applied together; name one of them"
        )
    wrapper = kinds, partial(layer, **arguments)
    return replace(_paced(recipe, lr, momentum), wrappers=(*recipe.wrappers, wrapper))


def _divergence(model: nn.Module, rows: int) -> Tensor:
    return kl_divergence(model) / rows


def _learned(layer: Callable[..., nn.Module], recipe: Recipe, **arguments: float) -> Recipe:
    recipe = _wrap(_AFFINE, layer, recipe, **arguments)
    return replace(recipe, penalties=(*recipe.penalties, _divergence))


def _r_drop(recipe: Recipe, *, alpha: float, **arguments: float) -> Recipe:
    return replace(_drop(Dropout, recipe, **arguments), agreement=alpha)


def _l1_norm(model: nn.Module, rows: int, coefficient: float) -> Tensor:
    return coefficient * torch.stack([w.abs().sum() for w in weights(model)]).sum()


def _l1(recipe: Recipe, *, coefficient: float) -> Recipe:
    penalty = partial(_l1_norm, coefficient=coefficient)
    return replace(recipe, penalties=(*recipe.penalties, penalty))


def _noise(recipe: Recipe, *, std: float) -> Recipe:
    return replace(recipe, inputs=(*recipe.inputs, partial(GaussianNoise, std)))


def _early_stopping(recipe: Recipe, *, patience: float) -> Recipe:
    stop = partial(EarlyStopping, monitor="val_loss", patience=int(patience), check_finite=False)
    return replace(recipe, callbacks=(*recipe.callbacks, stop), restore_best=True)


def _ensemble(recipe: Recipe, *, members: float) -> Recipe:
    return replace(recipe, members=int(members))


_LR = Argument("lr", 2.0, "learning rate as a multiple of the plain one", 1e-6)
_MOMENTUM = Argument(
    "momentum", 0.95, "final momentum; above the plain 0.9 it rises from 0.5", 0, 0.9999
)


def _drop_arguments(high: float, p: float = 0.5, input: float = 0.2) -> tuple[Argument, ...]:
    return (
        Argument("p", p, "probability of dropping a hidden unit", 0, high, tune=(0.1, 0.7)),
        Argument("input", input, "probability of dropping an input", 0, high, tune=(0.0, 0.4)),
        _LR,
        _MOMENTUM,
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
        Method(
            "r-drop",
            "Dropout, with the outputs of two passes held together by alpha times a divergence.",
            "Liang et al. 2021",
            _r_drop,
            (
                *_drop_arguments(1.0),
                Argument("alpha", 1.0, "weight of the divergence", 0, tune=(0.1, 5), log=True),
            ),
        ),
        Method(
            "drop-connect",
            "Drop each weight of every linear and convolutional layer with probability p.",
            "Wan et al. 2013",
            partial(_wrap, _AFFINE, DropConnect),
            (Argument("p", 0.5, "probability of dropping a weight", 0, 1, tune=(0.1, 0.7)),),
        ),
        Method(
            "targeted-dropout",
            "Drop the weights of least magnitude, a share gamma of them, with probability p.",
            "Gomez et al. 2019",
            partial(_wrap, _AFFINE, TargetedDropout),
            (
                Argument("p", 0.5, "probability of dropping such a weight", 0, 1, tune=(0.1, 0.9)),
                Argument("gamma", 0.5, "share of the weights", 0, 1, tune=(0.1, 0.9)),
            ),
        ),
        Method(
            "concrete-dropout",
            "Drop the inputs of every layer at a rate that is learned.",
            "Gal et al. 2017",
            partial(_learned, ConcreteDropout),
            (
                Argument("p", 0.1, "probability of dropping at the start", 1e-4, 0.9999),
                Argument(
                    "length_scale", 0.01, "of the prior of weights", 1e-6, tune=(1e-3, 1), log=True
                ),
            ),
        ),
        Method(
            "standout",
            "Keep each unit with probability sigmoid(alpha * input + beta).",
            "Ba and Frey 2013",
            partial(_wrap, _ACTIVATIONS, Standout),
            (
                Argument("alpha", 1.0, "slope", -100, 100, tune=(0.0, 4.0)),
                Argument("beta", 0.0, "offset; higher keeps more", -100, 100, tune=(-2.0, 4.0)),
                _LR,
                _MOMENTUM,
            ),
        ),
    )
}
