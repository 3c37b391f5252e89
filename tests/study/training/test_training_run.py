"""The handle of a training function: where each method acts, what it sees, when it stops."""

import copy
import math

import pytest
import torch
from torch import nn

from dropkit.noise import ConcreteDropout, Dropout
from dropkit.study import Outcome, StudyError, TrainingRun, run_once
from dropkit.study.methods.parsing import parse
from dropkit.study.training.look import check_calls
from dropkit.surgery import rates


def net(*own: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *own, nn.Linear(8, 2))


def test_as_it_is_nothing_changes() -> None:
    model = net(nn.Dropout(0.4))
    run = TrainingRun()
    assert run.regularize(model) is model
    assert run.penalty(model) == 0.0
    run.after_step(model)
    assert rates(model) == {"2": 0.4}
    assert list(run.epochs(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("method", "own", "found"),
    [
        ("none", [nn.Dropout(0.4)], []),
        ("dropout(p=0.3)", [], [0.3]),
        ("dropout(p=0.3)", [nn.Dropout(0.4)], [0.3]),
        ("dropout(p=0)", [nn.Dropout(0.4)], []),
        ("as-is+l1", [nn.Dropout(0.4)], [0.4]),
        ("drop-connect(p=0.2)", [], [0.2, 0.2]),
    ],
)
def test_a_method_puts_its_layers_into_the_model(
    method: str, own: list[nn.Module], found: list[float]
) -> None:
    model = TrainingRun(method=method).regularize(net(*own))
    assert list(rates(model).values()) == found


def test_inputs_are_dropped_where_that_is_written_and_while_the_model_trains() -> None:
    x = torch.ones(400, 4)
    quiet = TrainingRun(method="dropout(p=0)").regularize(
        nn.Sequential(nn.Identity(), nn.Linear(4, 1))
    )
    assert torch.equal(quiet[0](x), x)
    run = TrainingRun(method="dropout(p=0,input=0.5)")
    model = run.regularize(nn.Sequential(nn.Identity()))
    assert set(model(x).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(model.eval()(x), x)
    assert set(copy.deepcopy(model).train()(x).unique().tolist()) == {0.0, 2.0}
    with pytest.raises(StudyError, match=r"tensor of floats, got torch.int64.*input=0"):
        model.train()(torch.ones(3, 4, dtype=torch.long))


def test_named_inputs_are_dropped_too() -> None:
    class Named(nn.Module):
        def forward(self, *, x: torch.Tensor) -> torch.Tensor:
            return x

    model = TrainingRun(method="noise(std=1)").regularize(Named())
    assert model(x=torch.zeros(100, 4)).std() > 0.5


def test_weight_decay_is_added_to_ones_own() -> None:
    for method, expected in [("as-is", 0.01), ("weight-decay(coefficient=0.1)", 0.11)]:
        groups = TrainingRun(method=method).parameter_groups(net(), weight_decay=0.01)
        assert [group["weight_decay"] for group in groups] == pytest.approx([expected, 0.0])


def test_penalties_and_constraints() -> None:
    model = net()
    total = sum(w.abs().sum() for w in (model[0].weight, model[2].weight))
    penalty = TrainingRun(method="l1(coefficient=0.5)").penalty(model)
    assert torch.allclose(penalty, 0.5 * total)  # type: ignore[arg-type]
    TrainingRun(method="max-norm(c=0.1)").after_step(model)
    assert model[0].weight.norm(dim=1).max() <= 0.1


def test_learned_rates_need_the_number_of_rows() -> None:
    run = TrainingRun(method="concrete-dropout")
    model = run.regularize(net())
    assert any(isinstance(module, ConcreteDropout) for module in model.modules())
    with pytest.raises(StudyError, match=r"rows=len\(train_set\)"):
        run.penalty(model)
    assert torch.as_tensor(run.penalty(model, rows=100)).isfinite()


def test_layers_that_are_initialized_change_nothing_that_follows() -> None:
    drawn = []
    for method in ("as-is", "concrete-dropout", "dropout"):
        model = net()
        torch.manual_seed(1)
        TrainingRun(method=method).regularize(model)
        drawn.append(torch.rand(3))
    assert all(torch.equal(each, drawn[0]) for each in drawn)


def test_every_epoch_of_a_seed_begins_with_the_same_random_numbers() -> None:
    def draw(method: str, seed: int) -> list[list[float]]:
        seen = []
        for epoch in TrainingRun(seed, method).epochs(3):
            seen.append(torch.rand(2).tolist())
            torch.rand(epoch + len(method))  # as masks of dropout are drawn
        return seen

    first = draw("as-is", 0)
    assert first == draw("dropout", 0)
    assert first != draw("as-is", 1)
    assert first[0] != first[1]


def test_early_stopping_ends_the_epochs_and_restores_the_best_weights() -> None:
    run = TrainingRun(method="early-stopping(patience=2)")
    model, losses = run.regularize(net()), [1.0, 0.5, 0.7, 0.6, 0.1]
    for epoch in run.epochs(5):
        with torch.no_grad():
            model[0].weight.fill_(float(epoch))
        run.log(val_loss=losses[epoch])
    assert len(run.seen.log) == 4
    assert run.selected == 2
    assert model[0].weight.unique().tolist() == [1.0]


def test_the_best_weights_are_restored_where_the_function_leaves_its_loop() -> None:
    run = TrainingRun(method="early-stopping(patience=5)")
    model = run.regularize(net())
    for epoch in run.epochs(5):
        with torch.no_grad():
            model[0].weight.fill_(float(epoch))
        run.log(val_loss=torch.tensor(float(epoch)))
        if epoch == 1:
            break
    assert model[0].weight.unique().tolist() == [0.0]


def test_other_methods_take_all_epochs_and_keep_the_last_weights() -> None:
    run = TrainingRun(method="dropout")
    model = run.regularize(net())
    for epoch in run.epochs(7):
        with torch.no_grad():
            model[0].weight.fill_(float(epoch))
        run.log(val_loss=float(epoch))
    assert (run.selected, model[0].weight.unique().tolist()) == (7, [6.0])


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    run = TrainingRun()
    for epoch in run.epochs(5):
        run.log(train_loss=math.nan if epoch == 1 else 1.0)
    assert (len(run.seen.log), run.diverged) == (2, True)


def test_annealed_rates_fall_from_epoch_to_epoch() -> None:
    run = TrainingRun(method="annealed-dropout(p=0.4,until=0.5)")
    model = run.regularize(net())
    seen = [rates(model)["1.after"] for _ in run.epochs(4)]
    assert seen == pytest.approx([0.4, 0.2, 0.0, 0.0])


def test_suggested_numbers_have_a_default_until_a_search_chooses() -> None:
    run = TrainingRun()
    assert run.suggest("lr", 1e-4, 1e-2, log=True) == pytest.approx(1e-3)
    assert run.suggest("width", 10, 20) == 15
    assert run.suggest("rate", 1e-4, 1e-2, default=3e-4) == 3e-4
    assert run.suggest("width", 10, 20) == 15
    with pytest.raises(StudyError, match="'width' is suggested twice"):
        run.suggest("width", 10, 30)
    assert TrainingRun(hyperparameters={"lr": 0.005}).suggest("lr", 1e-4, 1e-2) == 0.005
    with pytest.raises(StudyError, match="low < high"):
        run.suggest("lr", 0.0, 1.0, log=True)
    with pytest.raises(StudyError, match="must lie in"):
        run.suggest("lr", 0.0, 1.0, default=2.0)


def test_only_a_model_is_regularized() -> None:
    for given in ("bert", nn.Linear):
        with pytest.raises(StudyError, match=r"needs the model, a torch.nn.Module, got .*"):
            TrainingRun().regularize(given)  # type: ignore[arg-type]


def test_hyperparameters_override_the_arguments_of_the_method() -> None:
    run = TrainingRun(method="dropout(p=0.3)", hyperparameters={"dropout.p": 0.6, "lr": 0.1})
    assert list(rates(run.regularize(net())).values()) == [0.6]


def test_test_rows_cannot_be_logged() -> None:
    with pytest.raises(TypeError, match="test_loss"):
        TrainingRun().log(test_loss=0.1)  # type: ignore[call-arg]


def test_start_tells_initial_weights_and_first_batches_apart() -> None:
    def start(method: str = "as-is", shift: float = 0.0, x: float = 1.0) -> str:
        run, model = TrainingRun(method=method), net()
        with torch.no_grad():
            model[0].weight += shift
        model = run.regularize(model)
        model.eval()(torch.zeros(2, 4))  # no training batch
        model.train()(torch.full((2, 4), x))
        model(torch.zeros(2, 4))  # nor the first
        return run.seen.start

    assert start() == start("dropout") == start("dropout(input=0.3)") == start("concrete-dropout")
    assert len({start(), start(shift=0.1), start(x=2.0)}) == 3
    assert TrainingRun().seen.start == ""


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("dropout-ridge", "is solved in closed form"),
        ("ensemble", "several networks"),
        ("r-drop", "replaces the loss"),
        ("fast-dropout", "replaces the loss"),
        ("thinned-dropout", "batches of the built-in training"),
        ("paper-dropout", "changes the optimizer's steps"),
    ],
)
def test_methods_that_need_the_built_in_training_are_refused(method: str, why: str) -> None:
    with pytest.raises(StudyError, match=f"{method} does not.*{why}") as caught:
        TrainingRun(method=method)
    usable = str(caught.value).partition("that do: ")[2].split(", ")
    assert {"as-is", "none", "dropout", "weight-decay", "early-stopping"} <= set(usable)
    assert method not in usable
    for name in usable:
        TrainingRun(method=name)


@pytest.mark.parametrize(
    ("method", "missing", "said"),
    [
        ("dropout", "regularize", r"run.regularize\(model\)"),
        ("none", "regularize", r"run.regularize\(model\)"),
        ("as-is+weight-decay", "parameter_groups", r"run.parameter_groups\(model\)"),
        ("as-is+l1", "penalty", r"run.penalty\(model\)"),
        ("as-is+max-norm", "after_step", r"run.after_step\(model\)"),
        ("annealed-dropout", "epochs", r"run.epochs\(n\)"),
        ("as-is+early-stopping", "log(val_loss=...)", r"run.log\(val_loss=...\)"),
    ],
)
def test_what_a_method_acts_through_must_be_called(method: str, missing: str, said: str) -> None:
    every = {
        "regularize",
        "parameter_groups",
        "penalty",
        "after_step",
        "epochs",
        "log(val_loss=...)",
    }
    check_calls(parse(method), every)
    check_calls(parse("as-is"), set())
    with pytest.raises(StudyError, match=said):
        check_calls(parse(method), every - {missing})


def test_once_is_an_ordinary_training_and_leaves_random_states_alone() -> None:
    def train(run: TrainingRun) -> Outcome:
        return Outcome(metrics={"bleu": torch.rand(()).item()}, higher_is_better=True)

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    values = [run_once(train, seed=seed).metrics for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    assert values[0] == values[1] != values[2]
    with pytest.raises(StudyError, match=r"returned nothing; end it with return study.Outcome"):
        run_once(lambda run: None)  # type: ignore[arg-type, return-value]


def test_a_place_that_is_missing_is_named() -> None:
    with pytest.raises(StudyError, match="dropout does not suit the model"):
        TrainingRun(method="dropout").regularize(nn.Sequential(nn.Linear(4, 2)))


def test_the_layers_are_dropkits() -> None:
    model = TrainingRun(method="dropout(p=0.3)").regularize(net(nn.Dropout(0.1)))
    assert isinstance(model[2], Dropout)
