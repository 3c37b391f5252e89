"""Monte-Carlo prediction: the mean over dropout masks, and how far they disagree."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dropkit._cut import Generators, Parts, cut
from dropkit.random.seed import draw_seed
from dropkit.sampling import Switches, switched

__all__ = ["Prediction", "predict"]

Kind = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The Monte-Carlo estimate that ``predict`` returns, y₁ … y_T being the samples.

    Attributes:
        mean: ``ȳ = Σ yₜ / T``, of the shape of the model's output; probabilities for classes.
        variance: ``Σ (yₜ − ȳ)² / (T − 1)``, the spread over masks: what the dropout does not
            agree on. It does not hold the noise of the targets.
        count: T.
        entropy: of the mean probabilities in nats, ``−Σ ȳ_c log ȳ_c``; classification only.
        mutual_information: between class and mask in nats, ``H(ȳ) − Σ H(yₜ) / T``;
            classification only. Its expectation falls short of its limit by a term in 1/T.
        samples: y₁ … y_T along a new first dimension, if they were kept.
    """

    mean: Tensor
    variance: Tensor
    count: int
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None
    samples: Tensor | None = None

    @property
    def standard_error(self) -> Tensor:
        """The Monte-Carlo standard error of the mean, ``√(variance / T)``."""
        return (self.variance / self.count).sqrt()


@torch.no_grad()
def predict(
    model: nn.Module,
    x: Tensor,
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
        model: any module that maps a tensor to a tensor. Which parts drop: see ``sampling``.
        x: its input, ``(examples, …)``.
        samples: T, the number of masks, 2 or more.
        kind: what the output is: ``"regression"`` takes it as it is; ``"classification"`` takes
            logits ``(examples, classes, …)`` and averages their softmax.
        shared: use the same T masks for every example, so that each sample is one function of
            x; otherwise every example has masks of its own.
        also: further modules to switch on, as in ``sampling``.
        keep: return the samples as well.
        memory: bytes that samples run together may take, by an upper estimate. After running out
            of memory the number of samples run together is halved.
        seed: fixes the masks; they also depend on the number of samples run together. Default:
            drawn from torch's default generator, which is otherwise left alone.
        generator: draw the seed from this generator instead.

    Returns:
        The :class:`Prediction`, in float32 or wider.

    Raises:
        TypeError: the model is not a module, or its output not a floating tensor.
        ValueError: nothing in the model drops, so that all samples are equal; fewer than two
            samples; no examples; both seed and generator given; logits of fewer than two classes;
            ``shared=True`` and the examples are not along dimension 0 or act on each other.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    >>> found = predict(net, torch.ones(5, 3), samples=200, kind="classification", seed=0)
    >>> found.mean.shape, found.entropy.shape, bool((found.variance > 0).all())
    (torch.Size([5, 2]), torch.Size([5]), True)

    Reference: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016); the mutual
    information is that of Houlsby, Huszár, Ghahramani & Lengyel (2011). The variance is that of
    the mean alone: theirs adds 1/τ, the noise of the targets.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if samples < 2:
        raise ValueError(f"samples must be 2 or more, for a variance, got {samples}")
    if kind not in ("regression", "classification"):
        raise ValueError(f"kind must be 'regression' or 'classification', got {kind!r}")
    if not x.dim() or not len(x):
        raise ValueError(f"x must hold examples along dimension 0, got shape {tuple(x.shape)}")
    if seed is None:
        seed = int(draw_seed(generator=generator))
    elif generator is not None:
        raise ValueError("give a seed or a generator, not both")
    generators = Generators([x, *model.parameters()])
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        parts = cut(model, x, generators, switched(model, also))
        if shared and not parts.independent:
            raise ValueError(
                "shared=True needs examples along dimension 0 of input and output that do not act "
                "on each other; use shared=False, which draws new masks for each pass"
            )
        with switched(model, also) as switches, generators.restored():
            if not parts.draws:
                raise ValueError(_no_variance(model, switches))
            generators.seed(seed)
            found = _Moments(kind, keep)
            inner = parts.start(x.clone())
            together = max(1, memory // (parts.row_bytes * (1 if shared else len(x)) or 1))
            _run(parts, inner, samples, together, shared, generators, found)
            if not found.vary:
                raise ValueError(_no_variance(model, switches))
            return found.prediction()
    finally:
        for module, mode in modes:
            module.training = mode


def _run(
    parts: Parts,
    inner: Tensor,
    samples: int,
    together: int,
    shared: bool,
    generators: Generators,
    found: "_Moments",
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
            if together == 1 or not _out_of_memory(error):
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
        rows = inner.expand(together, *inner.shape).flatten(0, 1)
        outputs = _checked(rest(rows))
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


class _Moments:
    """Sums over samples, taken from the first so that they lose no digits to a large mean."""

    def __init__(self, kind: Kind, keep: bool) -> None:
        self._kind = kind
        self._keep = keep
        self._kept: list[Tensor] = []
        self._count = 0
        self._first: Tensor | None = None
        self._sum = self._squares = self._entropies = torch.zeros(())
        self.vary = False

    def add(self, outputs: Tensor) -> None:
        """Take in outputs of shape (samples, examples, …)."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self._kind == "classification":
            if outputs.dim() < 3 or outputs.shape[2] < 2:
                raise ValueError(
                    "kind='classification' needs logits (examples, classes, …) of two classes or "
                    f"more, got shape {tuple(outputs.shape[1:])}; write one logit z as (0, z)"
                )
            log = outputs.log_softmax(2)
            outputs = log.exp()
            entropies = -(outputs * log.masked_fill(outputs == 0, 0)).sum(2)
            self._entropies = self._entropies.to(outputs) + entropies.sum(0)
        if self._first is None:
            self._first = outputs[0].clone()
            self._sum = self._squares = torch.zeros_like(self._first)
        apart = outputs - self._first
        self.vary = self.vary or bool((apart != 0).any())
        self._sum = self._sum + apart.sum(0)
        self._squares = self._squares + apart.square().sum(0)
        self._count += len(outputs)
        if self._keep:
            self._kept.append(outputs)

    def prediction(self) -> Prediction:
        """Return the estimates."""
        assert self._first is not None
        count = self._count
        mean = self._first + self._sum / count
        variance = (self._squares - self._sum.square() / count).clamp(min=0) / (count - 1)
        entropy = information = None
        if self._kind == "classification":
            entropy = -torch.special.xlogy(mean, mean).sum(1)
            information = (entropy - self._entropies / count).clamp(min=0)
        kept = torch.cat(self._kept) if self._keep else None
        return Prediction(mean, variance, count, entropy, information, kept)


def _checked(output: Tensor) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = output.dtype if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(
            f"the model must return a floating tensor, got {got}; wrap it in a module that "
            "returns the tensor to be averaged"
        )
    return output


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _no_variance(model: nn.Module, switches: Switches) -> str:
    layers = {name: model.get_submodule(name) for name in switches.on}
    found = "; ".join(f"{name or 'the model'} is {layer}" for name, layer in layers.items())
    left = "".join(f"; left alone was {line}" for line in switches.left)
    return (
        f"{type(model).__name__} must drop something for its samples to differ, but all are equal: "
        f"found {found or 'no dropout'}{left}. Put dropout in with insert, give it a rate between "
        "0 and 1, or name a module that drops while in training mode in also"
    )
