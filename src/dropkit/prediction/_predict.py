"""Monte-Carlo prediction: the mean over dropout masks, and their disagreement."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropkit._moments import Kind, Moments, Prediction, mixture
from dropkit.prediction._samples import Wanted, add_samples
from dropkit.random.seed import draw_seed

__all__ = ["Prediction", "checkpoints", "predict"]


@torch.no_grad()
def predict(
    model: nn.Module | Iterable[nn.Module],
    x: Any,
    samples: int = 100,
    *,
    kind: Kind | None = None,
    output: str | Callable[[Any], Tensor] | None = None,
    shared: bool = False,
    also: Collection[nn.Module] = (),
    keep: bool = False,
    memory: int = 1 << 28,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Predict with dropout: run the model with many masks, and everything else in evaluation.

    ``ȳ = Σₜ f(x, mₜ) / T``

    The layers before the first random draw run once. Then the samples of an example run as
    additional rows of the batch, if a test shows that rows do not interact and do not share noise.
    Otherwise each sample takes one pass. The model does not change: dropout is switched on in a
    copy that shares its weights, so other threads may call the model at the same time. Concurrent
    predictions run one after another, because torch has a single default generator.

    Args:
        model: any module; ``sampling`` explains which parts drop. A module made by
            ``torch.compile``, ``torch.jit`` or ``torch.distributed`` is switched itself, not a
            copy. Or several modules, an ensemble, for example from ``checkpoints``: the result is
            the prediction of their mixture.
        x: its input, ``(examples, …)``, a tensor or array; arrays of floats are converted to the
            type of the model's parameters. For several inputs pass a tuple of positional or a
            mapping of keyword arguments; then each sample takes one pass.
        samples: T, the number of masks, 2 or more; with several models, for each. With 0, each of
            several models runs once in evaluation: an ordinary ensemble.
        kind: ``"regression"`` averages the output; ``"classification"`` expects logits ``(examples,
            classes, …)`` and averages their softmax. By default regression, with a warning if the
            output is called ``logits``.
        output: what to average if the model returns a mapping, an object or a tuple: the name of an
            entry or attribute, or a function of the output. Default: ``logits``.
        shared: whether to use the same T masks for every example, so that each sample is one
            function of x; otherwise every example has its own masks.
        also: further modules to switch on, as in ``sampling``.
        keep: whether to also return the samples.
        memory: maximum bytes, as an upper estimate, of samples that run together. If memory is
            exhausted, fewer samples run together.
        seed: fixes the masks; they also depend on the number of samples that run together. Model m
            of several uses seed + m, counted from 0. Default: drawn from torch's default generator,
            which is otherwise not used.
        generator: a generator to draw the seed from instead.

    Returns:
        The `Prediction`, in float32 or wider.

    Raises:
        TypeError: a model is not a module, or its output not a floating tensor; an input that is
            none, or ``samples`` no whole number.
        KeyError, AttributeError: the model returns nothing of the name ``output``.
        ValueError: nothing in a model drops, so that all samples are equal; a module calls its
            dropout in training mode only, and is not in ``also``; fewer than two
            samples; no examples; both seed and generator given; logits of fewer than two classes;
            ``shared=True`` and the examples are not along dimension 0 of one input or act on each
            other; fewer than two of several models, or outputs of different shapes; models that
            are all equal; a module in ``also`` that no model holds, as none of ``checkpoints`` can.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    >>> found = predict(net, torch.ones(5, 3), samples=200, kind="classification", seed=0)
    >>> found.mean.shape, found.entropy.shape, bool((found.variance > 0).all())
    (torch.Size([5, 2]), torch.Size([5]), True)

    Reference: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016); the mutual
    information is that of Houlsby, Huszár, Ghahramani & Lengyel (2011). The variance is that of
    the mean alone: theirs adds 1/τ, the noise of the targets.
    """
    if not isinstance(samples, int | np.integer):
        raise TypeError(
            f"samples must be an integer, got a {type(samples).__name__}; pass several inputs as "
            "a tuple: predict(model, (first, second))"
        )
    if samples < 2 and (samples or isinstance(model, nn.Module)):
        raise ValueError(f"samples must be 2 or more, for a variance, got {samples}")
    if kind not in ("regression", "classification", None):
        raise ValueError(f"kind must be 'regression' or 'classification', got {kind!r}")
    if not isinstance(x, Tensor | np.ndarray | Mapping | tuple | list):
        raise TypeError(
            "x must be a tensor or array, a tuple of positional inputs or a mapping of named ones, "
            f"got {type(x).__name__}"
        )
    if isinstance(x, Tensor | np.ndarray) and 0 in (x.ndim, *x.shape[:1]):
        raise ValueError(f"x must hold examples along dimension 0, got shape {tuple(x.shape)}")
    if seed is None:
        seed = int(draw_seed(generator=generator))
    elif generator is not None:
        raise ValueError("pass a seed or a generator, not both")
    wanted = Wanted(output, kind)
    if isinstance(model, nn.Module):
        found = Moments(kind or "regression", keep)
        add_samples(found, model, x, samples, wanted, shared, also, memory, seed)
        return found.prediction()
    members: list[Prediction] = []
    strangers = set(also)
    for member in model if isinstance(model, Iterable) else [model]:
        if not isinstance(member, nn.Module):
            raise TypeError(
                f"model must be a torch.nn.Module, or several of them, got {type(member).__name__}"
                "; for state dicts give checkpoints(model, states)"
            )
        found = Moments(kind or "regression", keep)
        own = set(also).intersection(member.modules())
        strangers -= own
        add_samples(found, member, x, samples, wanted, shared, own, memory, seed + len(members))
        members.append(found.prediction())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(
            f"also must hold modules of the models, but these are in none: {kinds}; checkpoints "
            "yields copies with different modules"
        )
    shapes = {tuple(member.mean.shape) for member in members}
    if len(members) < 2 or len(shapes) > 1:
        raise ValueError(
            "an ensemble must be two or more models with outputs of the same shape, got "
            f"{len(members)} with {sorted(shapes)}; pass a single model without a list"
        )
    together = mixture(members)
    if not together.variance.any():
        raise ValueError(
            f"the {len(members)} models must differ, but all outputs are equal; load a different "
            "checkpoint into each, or sample masks with samples=100"
        )
    return together


def checkpoints(model: nn.Module, states: Iterable[Mapping[str, Any]]) -> Iterator[nn.Module]:
    """Return an ensemble for ``predict``: one copy of a model per state dict.

    Copies are created one after another, so only one is in memory at a time. To read files only
    when needed, pass ``(torch.load(path) for path in paths)``.

    Args:
        model: the architecture; it keeps its own weights.
        states: state dicts of several training runs, or of several epochs of one run.

    Returns:
        An iterator over the models, to be used once.

    Raises:
        RuntimeError: keys or shapes do not match, from ``load_state_dict``.

    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    >>> states = [nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)).state_dict() for _ in range(4)]
    >>> found = predict(checkpoints(net, states), torch.ones(5, 3), samples=50)
    >>> found.count, len(found.members), bool((found.variance > found.variance_between).all())
    (200, 4, True)

    Reference: Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles" (2017), for the mixture. Theirs divides the variance between
    M models by M; here, as between masks, by M − 1.
    """
    for state in states:
        member = deepcopy(model)
        member.load_state_dict(state)
        yield member
