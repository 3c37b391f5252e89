"""Define `compare_training`, which runs a user's training function and returns `Results`.

The modules that run a study import slowly, so the functions below import them when needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.study.execution import Execution
from dropkit.study.python_words import raise_in_python_words
from dropkit.study.settings import check_names, from_values, names
from dropkit.study.training_study import OWN_METHODS, TrainingStudy

if TYPE_CHECKING:
    from dropkit.study.results import Results
    from dropkit.study.training.outcome import Outcome
    from dropkit.study.training.training_run import TrainingRun


@raise_in_python_words()
def compare_training(
    train: str | Callable[[TrainingRun], Outcome],
    *,
    methods: Sequence[str] | str = OWN_METHODS,
    seeds: int = TrainingStudy.seeds,
    out: str | Path | None = None,
    jobs: int | None = Execution.jobs,
    progress: bool = False,
    **settings: Any,
) -> Results:
    """Compare regularizers in your own training function, with paired seeds.

    Args:
        train: a function that takes a `TrainingRun` and returns an `Outcome`, or
            ``file.py:function``.
            The function is called for every method and seed.
        methods: the regularizers to compare, such as ``"none,dropout(p=0.3)+l1"``; the command
            ``dropkit methods`` lists them all. The baseline is ``none`` if present, otherwise the
            first method.
        seeds: number of random seeds; every method is trained with the same seeds.
        out: run folder, needed to resume an interrupted study; by default nothing is saved.
        jobs: number of parallel runs; by default as many as the cores allow.
        progress: whether to print progress to standard error.
        **settings: any other setting of `TrainingStudy`, such as ``tune`` or ``threads``, or of
            `Execution`, such as ``time_limit`` or ``ray``.

    Returns:
        The `Results`; ``print(results)`` gives the verdict, ``results.table()`` the numbers.

    Raises:
        StudyError: an error that the caller can fix; the message is one line.

    >>> import torch
    >>> from dropkit.study import Outcome
    >>> def train(run):
    ...     x = torch.randn(60, 4)
    ...     model = run.regularize(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(),
    ...                                                torch.nn.Linear(8, 2)))
    ...     optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ...     for epoch in run.epochs(3):
    ...         loss = torch.nn.functional.cross_entropy(model(x[:40]), (x[:40, 0] > 0).long())
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    ...     return Outcome(model.eval()(x[40:]), torch.tensor([0, 1] * 10))
    >>> results = compare_training(train, methods="none,dropout", seeds=2, jobs=1)
    >>> [run.method for run in results.runs]
    ['none', 'none', 'dropout', 'dropout']
    """
    from dropkit.study.methods.parsing import parse_list
    from dropkit.study.start_training import check_training, run_training_study, training_folder
    from dropkit.study.store.folder import parse_folder

    check_names(settings, (*names(TrainingStudy), *names(Execution)))
    how = {key: settings.pop(key) for key in names(Execution) if key in settings}
    execution = from_values(Execution, {"jobs": jobs, **how})
    study = TrainingStudy.from_dict(
        {
            "train": train if isinstance(train, str) else _name(train),
            "methods": parse_list(methods) if isinstance(methods, str) else tuple(methods),
            "seeds": seeds,
            **settings,
        }
    )
    check_training(study, train)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "run" if out is None else parse_folder(out)
        folder = training_folder(study, train, out)
        return run_training_study(study, train, folder, execution, show=progress)


def _name(train: Callable[..., Any]) -> str:
    name: str = getattr(train, "__qualname__", type(train).__qualname__)
    return name.rpartition(".")[2].strip("<>")
