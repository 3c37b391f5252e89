"""Monte-Carlo prediction: the mean over dropout masks, and how far they disagree."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from dropkit._cut import Parts, cut
from dropkit._draws import Draws, Generators
from dropkit._inputs import arguments
from dropkit._mode import device_of, mode
from dropkit._moments import Kind, Moments, Prediction, mixture
from dropkit.errors import is_out_of_memory
from dropkit.prediction._sampling import Switches, switched
from dropkit.random.seed import draw_seed

__all__ = ["Prediction", "checkpoints", "predict"]


@torch.no_grad()
def predict(
    model: nn.Module | Iterable[nn.Module],
    x: Any,
    samples: int = 100,
    *,
    kind: Kind = "regression",
    shared: bool = False,
    also: Collection[nn.Module] = (),
    keep: bool = False,
    memory: int = 1 << 28,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Predict with dropout: run the model under many masks, the rest of it in evaluation.

    ``ȳ = Σₜ f(x, mₜ) / T``

    What comes before the first draw runs once. The samples of an example are then run as further
    rows of the batch, if trying it out shows that rows neither act on each other nor share their
    noise; otherwise each sample takes a pass of its own. The model is left as it was.

    Args:
        model: any module that returns a tensor; which parts of it drop: see ``sampling``.
            Or several, an ensemble, such as ``checkpoints`` gives: each is predicted with in turn,
            and the result is of their mixture.
        x: its input, ``(examples, …)``, a tensor or array. Of several inputs, a tuple of positional
            or a mapping of named ones; then each sample takes a pass of its own.
        samples: T, the number of masks, 2 or more; of several models, for each. With 0 each of
            several models runs once, in evaluation: a plain ensemble.
        kind: what the output is: ``"regression"`` takes it as it is; ``"classification"`` takes
            logits ``(examples, classes, …)`` and averages their softmax.
        shared: use the same T masks for every example, so that each sample is one function of
            x; otherwise every example has masks of its own.
        also: further modules to switch on, as in ``sampling``.
        keep: return the samples as well.
        memory: bytes that samples run together may take, by an upper estimate. After running out
            of memory the number of samples run together is halved.
        seed: fixes the masks; they also depend on the number of samples run together. Model m of
            several, from 0, has those of seed + m. Default: drawn from torch's default generator,
            which is otherwise left alone.
        generator: draw the seed from this generator instead.

    Returns:
        The `Prediction`, in float32 or wider.

    Raises:
        TypeError: a model is not a module, or its output not a floating tensor; an input that is
            none, or ``samples`` no whole number.
        ValueError: nothing in a model drops, so that all samples are equal; fewer than two
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
            f"samples must be a whole number, got a {type(samples).__name__}; give several inputs "
            "as a tuple, predict(model, (first, second))"
        )
    if samples < 2 and (samples or isinstance(model, nn.Module)):
        raise ValueError(f"samples must be 2 or more, for a variance, got {samples}")
    if kind not in ("regression", "classification"):
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
        raise ValueError("give a seed or a generator, not both")
    if isinstance(model, nn.Module):
        found = Moments(kind, keep)
        _predict(model, x, samples, shared, also, memory, seed, found)
        return found.prediction()
    members: list[Prediction] = []
    strangers = set(also)
    for member in model if isinstance(model, Iterable) else [model]:
        if not isinstance(member, nn.Module):
            raise TypeError(
                f"model must be a torch.nn.Module, or several of them, got {type(member).__name__}"
                "; for state dicts give checkpoints(model, states)"
            )
        found = Moments(kind, keep)
        own = set(also).intersection(member.modules())
        strangers -= own
        _predict(member, x, samples, shared, own, memory, seed + len(members), found)
        members.append(found.prediction())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(
            f"also must hold modules of the models, but these are in none: {kinds}; checkpoints "
            "yields copies, whose modules are others"
        )
    shapes = {tuple(member.mean.shape) for member in members}
    if len(members) < 2 or len(shapes) > 1:
        raise ValueError(
            "an ensemble must be two or more models with outputs of the same shape, got "
            f"{len(members)} with {sorted(shapes)}; give a single model as it is"
        )
    together = mixture(members)
    if not together.variance.any():
        raise ValueError(
            f"the {len(members)} models must differ, but all outputs are equal; load a checkpoint "
            "of its own into each, or sample masks with samples=100"
        )
    return together


def checkpoints(model: nn.Module, states: Iterable[Mapping[str, Any]]) -> Iterator[nn.Module]:
    """Return an ensemble for ``predict``: a copy of a model for each of several state dicts.

    One after the other, so that one is in memory at a time; ``(torch.load(path) for path in
    paths)`` reads them from files as they are needed.

    Args:
        model: the architecture; it keeps its own weights.
        states: what ``state_dict()`` returned, of training runs of their own or of epochs of one.

    Returns:
        An iterator over the models, to be gone through once.

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


def _predict(
    model: nn.Module,
    x: Any,
    samples: int,
    shared: bool,
    also: Collection[nn.Module],
    memory: int,
    seed: int,
    found: Moments,
) -> None:
    args, kwargs = arguments(x, device_of(model))
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    generators = Generators([*tensors, *model.parameters()])

    def whole(_: Any = None) -> Any:
        copies = tree_map_only(Tensor, Tensor.clone, (args, kwargs))  # layers may work in place
        return model(*copies[0], **copies[1])

    with mode(model, training=False):
        if not samples:
            found.add(_checked(whole()).unsqueeze(0))
            return
        if isinstance(x, Tensor | np.ndarray):
            parts = cut(model, args[0], generators, lambda: switched(model, also), shared)
        else:
            with switched(model, also), generators.restored(), Draws() as draws:
                whole()
            parts = Parts(torch.empty(0), whole, any(draws.sizes), False, False, 0)
        if shared and not parts.independent:
            raise ValueError(
                "shared=True needs examples along dimension 0 of one input and of the output that "
                "do not act on each other; use shared=False, which draws new masks for each pass"
            )
        with switched(model, also) as switches, generators.restored():
            if not parts.draws:
                raise ValueError(_no_variance(model, switches))
            generators.seed(seed)
            rows = 1 if shared else parts.inner.shape[:1].numel()
            together = max(1, memory // (parts.row_bytes * rows or 1))
            _run(parts, parts.inner, samples, together, shared, generators, found)
            if not found.vary:
                raise ValueError(_no_variance(model, switches))


def _run(
    parts: Parts,
    inner: Tensor,
    samples: int,
    together: int,
    shared: bool,
    generators: Generators,
    found: Moments,
) -> None:
    one_pass = _same_masks(parts.rest, generators) if shared else _own_masks(parts.rest)
    done = 0
    together = together if parts.per_example else 1
    while done < samples:
        together = min(together, samples - done)
        state = generators.get()
        try:
            outputs = one_pass(inner, together)
        except RuntimeError as error:
            if together == 1 or not is_out_of_memory(error):
                raise
            together //= 2
            generators.set(state)
            continue
        found.add(outputs)
        done += together


def _own_masks(rest: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Samples × examples as rows of one batch, sample by sample."""

    def one_pass(inner: Tensor, together: int) -> Tensor:
        # Layers may work in place: every pass gets a copy.
        if together == 1:
            return _checked(rest(inner.clone())).unsqueeze(0)
        outputs = _checked(rest(inner.repeat(together, *[1] * (inner.dim() - 1))))
        return outputs.reshape(together, len(inner), *outputs.shape[1:])

    return one_pass


def _same_masks(
    rest: Callable[[Tensor], Tensor], generators: Generators
) -> Callable[[Tensor, int], Tensor]:
    """One example at a time, its samples as rows, every example from the same random state."""

    def one_pass(inner: Tensor, together: int) -> Tensor:
        state = generators.get()
        outputs = []
        for example in inner:
            generators.set(state)
            outputs.append(_checked(rest(example.expand(together, *example.shape).clone())))
        return torch.stack(outputs, 1)

    return one_pass


def _checked(output: Tensor) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = output.dtype if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(
            f"the model must return a floating tensor, got {got}; wrap it in a module that "
            "returns the tensor to be averaged"
        )
    return output


def _no_variance(model: nn.Module, switches: Switches) -> str:
    layers = {name: model.get_submodule(name) for name in switches.on}
    found = "; ".join(f"{name or 'the model'} is {layer}" for name, layer in layers.items())
    left = "".join(f"; left alone was {line}" for line in switches.left)
    return (
        f"{type(model).__name__} must drop something for its samples to differ, but all are equal: "
        f"found {found or 'no dropout'}{left}. Put dropout in with insert, give it a rate between "
        "0 and 1, or name a module that drops while in training mode in also"
    )
