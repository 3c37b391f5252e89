"""The loop: the order in which things happen, and the same arithmetic as torch's own parts."""

from typing import Any

import pytest
import torch
from torch import nn

from dropkit.study.training.loop import train
from dropkit.study.training.ranks import Rank
from dropkit.study.training.sgd import SGD


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, 3, generator=generator)
    y = torch.randint(2, (count, 4), generator=generator)
    return [(x[i], y[i], 1.0) for i in range(count)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_is_torchs_to_the_bit(momentum: float, decay: float) -> None:
    ours, theirs = net(), net()
    settings = {"momentum": momentum, "weight_decay": decay}
    mine = SGD([{"params": list(ours.parameters()), "lr": 0.1, **settings}])
    other = torch.optim.SGD(theirs.parameters(), lr=0.1, **settings)
    for i, (x, y, _) in enumerate(batches(5)):
        for model, optimizer in ((ours, mine), (theirs, other)):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            if i == 2:  # a layer that took no part
                model[0].weight.grad = None
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)


def test_each_update_is_scheduled_before_and_projected_after() -> None:
    model = net()
    model[1].eval()  # as a user froze it
    optimizer = SGD([{"params": list(model.parameters()), "lr": 0.1}])
    seen: list[Any] = []

    def objective(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(("loss", model.training, model[1].training))
        loss = nn.functional.cross_entropy(model(x), y)
        return loss, 2 * loss

    passes = [batches(2), batches(1)]
    found = []
    for done in train(
        model,
        passes,
        objective,
        optimizer,
        schedule=lambda step: seen.append(("schedule", step)),
        project=lambda: seen.append("project"),
    ):
        found.append((done.updates, len(done.losses), done.losses.requires_grad))
        assert not any(module.training for module in model.modules())
    assert found == [(2, 2, False), (3, 1, False)]
    update = [("loss", True, False), "project"]
    assert seen == [("schedule", 0), *update, ("schedule", 1), *update, ("schedule", 2), *update]
    assert (model.training, model[1].training) == (True, False)


def test_what_is_minimized_moves_the_weights_and_a_batch_counts_its_weight() -> None:
    (x, y, _), steps = batches(1)[0], []
    for factor, weight in ((1.0, 1.0), (3.0, 1.0), (1.0, 3.0)):
        model = net()
        before = model[3].weight.detach().clone()

        def objective(
            x: torch.Tensor, y: torch.Tensor, model: nn.Module = model, factor: float = factor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            loss = nn.functional.cross_entropy(model(x), y)
            return loss, factor * loss

        optimizer = SGD([{"params": list(model.parameters()), "lr": 0.1}])
        (done,) = train(model, [[(x, y, weight)]], objective, optimizer, schedule=lambda _: None)
        steps.append((model[3].weight.detach() - before, done.losses.item()))
    torch.testing.assert_close(steps[1][0], 3 * steps[0][0])
    torch.testing.assert_close(steps[2][0], 3 * steps[0][0])
    assert steps[1][1] == steps[0][1]
    assert steps[2][1] == pytest.approx(3 * steps[0][1])


def test_gradients_are_averaged_over_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranks one is here; the other's share is added where the exchange would."""
    first, never, other = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad = torch.tensor([2.0, 4.0])  # `other` took part on the other rank alone
    theirs = torch.tensor([1.0, 0.0, 1.0, 6.0, 8.0, 0.0, 0.0, 1.0, 3.0])
    monkeypatch.setattr("torch.distributed.all_reduce", lambda values: values.add_(theirs / 2))
    Rank(0, 2).average_gradients([first, never, other])
    assert torch.equal(first.grad, torch.tensor([4.0, 6.0]))
    assert never.grad is None
    assert other.grad is not None
    assert torch.equal(other.grad, torch.tensor([0.5, 1.5]))
