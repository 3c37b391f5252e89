"""Monte-Carlo prediction: the mean over dropout masks, and its uncertainty."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropkit._moments import Moments, Prediction, Task, mixture
from dropkit.prediction._samples import Wanted, add_samples
from dropkit.random.seed import draw_seed

__all__ = ["Prediction", "checkpoints", "predict"]


@torch.no_grad()
def predict(
    model: nn.Module | Iterable[nn.Module],
    x: Any,
    samples: int = 100,
    *,
    task: Task | None = None,
    output: str | Callable[[Any], Tensor] | None = None,
    shared: bool = False,
    extra_modules: Collection[nn.Module] = (),
    keep_samples: bool = False,
    max_memory_bytes: int = 1 << 28,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Predict with Monte-Carlo dropout: average the outputs of a model over many dropout masks.

    ``ȳ = Σₜ f(x, mₜ) / T`` for the masks m₁ … m_T. All modules except dropout are in evaluation
    mode.

    The layers before the first random draw run once. Then the samples of an example run as
    additional rows of the batch, if a test run shows that rows do not interact and do not share
    noise. Otherwise each sample takes one pass. The model does not change: dropout is switched on
    in a copy that shares the model's weights, so other threads may call the model at the same time.
    Concurrent predictions run one after another, because torch has a single default generator.

    Args:
        model: any module; ``sampling`` explains which parts drop. Modules from ``torch.compile``,
            ``torch.jit`` or ``torch.distributed`` cannot be copied, so dropout is switched on in
            the module itself. For an ensemble pass several modules, for example from
            ``checkpoints``; the result is the prediction of their mixture.
        x: the model's input, ``(examples, …)``, a tensor or array. Float arrays are converted to
            the dtype of the model's parameters. For several inputs, pass a tuple of positional
            arguments or a mapping of keyword arguments; then each sample takes one pass.
        samples: T, the number of masks, 2 or more; for an ensemble, the number per model. An
            ensemble also accepts 0: then each model runs once in evaluation, as in an ordinary
            ensemble.
        task: ``"regression"`` averages the output; ``"classification"`` expects logits ``(examples,
            classes, …)`` and averages their softmax. Default: regression, with a warning if the
            output is named ``logits``.
        output: selects the tensor to average if the model returns a mapping, an object or a tuple:
            the name of an entry or attribute, or a function of the output. Default: ``logits``.
        shared: whether to use the same T masks for every example, so that each sample is one
            function of x; otherwise every example has its own masks.
        extra_modules: additional modules to switch on, as in ``sampling``.
        keep_samples: whether to also return the samples.
        max_memory_bytes: estimated maximum number of bytes for samples that run together. If memory
            runs out, fewer samples run together.
        seed: random seed of the masks, which also depend on the number of samples that run
            together. Model m = 0, 1, … of an ensemble uses seed + m. Default: drawn from torch's
            default generator.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        The `Prediction`, in float32 or wider.

    Raises:
        TypeError: a model is not a module, or its output is not a floating tensor; ``x`` is not a
            supported input; ``samples`` is not an integer.
        KeyError, AttributeError: the model's output has no entry or attribute ``output``.
        ValueError: the model has no active dropout, so all samples are equal; a module calls its
            dropout in training mode only, and is not in ``extra_modules``; fewer than two samples;
            no examples; both seed and generator given; logits with fewer than two classes;
            ``shared=True``, but the examples interact, or do not lie along dimension 0 of a single
            input; an ensemble of fewer than two models, of equal models, or with outputs of
            different shapes; a module in ``extra_modules`` that is in no model (models from
            ``checkpoints`` are copies, so their modules cannot be in ``extra_modules``).

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    >>> found = predict(net, torch.ones(5, 3), samples=200, task="classification", seed=0)
    >>> found.mean.shape, found.entropy.shape, bool((found.variance > 0).all())
    (torch.Size([5, 2]), torch.Size([5]), True)

    Reference: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016); for the mutual
    information, Houlsby, Huszár, Ghahramani & Lengyel (2011). Deviation: the first paper adds the
    noise variance of the targets, 1/τ, to the variance.
    """
    if not isinstance(samples, int | np.integer):
        raise TypeError(
            f"samples must be an integer, got a {type(samples).__name__}; pass several inputs as "
            "a tuple: predict(model, (first, second))"
        )
    if samples < 2 and (samples or isinstance(model, nn.Module)):
        raise ValueError(f"samples must be 2 or more, for a variance, got {samples}")
    if task not in ("regression", "classification", None):
        raise ValueError(f"task must be 'regression' or 'classification', got {task!r}")
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
    wanted = Wanted(output, task)
    if isinstance(model, nn.Module):
        found = Moments(task or "regression", keep_samples)
        add_samples(found, model, x, samples, wanted, shared, extra_modules, max_memory_bytes, seed)
        return found.prediction()
    members: list[Prediction] = []
    strangers = set(extra_modules)
    for member in model if isinstance(model, Iterable) else [model]:
        if not isinstance(member, nn.Module):
            raise TypeError(
                f"model must be a torch.nn.Module, or several of them, got {type(member).__name__}"
                "; for state dicts give checkpoints(model, states)"
            )
        found = Moments(task or "regression", keep_samples)
        own = set(extra_modules).intersection(member.modules())
        strangers -= own
        own_seed = seed + len(members)
        add_samples(found, member, x, samples, wanted, shared, own, max_memory_bytes, own_seed)
        members.append(found.prediction())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(
            f"extra_modules=[...] must hold modules of the models, but these are in none: {kinds}; "
            "checkpoints yields copies with different modules"
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
    """Yield an ensemble for ``predict``: one copy of a model per state dict.

    Copies are created one after another, so only one is in memory at a time. To read files only
    when needed, pass ``(torch.load(path) for path in paths)``.

    Args:
        model: the model to copy; its own weights do not change.
        states: state dicts of several training runs, or of several epochs of one run.

    Returns:
        An iterator over the models, which can be used once.

    Raises:
        RuntimeError: raised by ``load_state_dict``, if keys or shapes do not match.

    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    >>> states = [nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)).state_dict() for _ in range(4)]
    >>> found = predict(checkpoints(net, states), torch.ones(5, 3), samples=50)
    >>> found.count, len(found.members), bool((found.variance > found.variance_between).all())
    (200, 4, True)

    Reference: Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles" (2017), for the mixture. Deviation: the variance between M
    models has the divisor M − 1, not M. The variance over T masks also has the divisor T − 1.
    """
    for state in states:
        member = deepcopy(model)
        member.load_state_dict(state)
        yield member
