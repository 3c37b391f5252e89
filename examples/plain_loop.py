"""A plain PyTorch loop on handwritten digits: AdamW, a cosine schedule, augmentation.

python examples/plain_loop.py                              # train once
dropkit compare examples/plain_loop.py:train               # compare dropout rates
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from dropkit import study

EPOCHS = 20


def load_rows() -> tuple[TensorDataset, TensorDataset]:
    """Return training and test digits; the 1,000 test rows are the same for every seed."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    return TensorDataset(x[:797], y[:797]), TensorDataset(x[797:], y[797:])


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def shift(x: Tensor) -> Tensor:
    """Shift images by up to one pixel."""
    down, right = torch.randint(3, (2,)).tolist()
    return F.pad(x, (1, 1, 1, 1))[..., down : down + 8, right : right + 8]


def train(run: study.TrainingRun) -> study.Outcome:
    torch.manual_seed(run.seed)
    rows, test = load_rows()
    train_set, val_set = random_split(rows, [300, 497])
    x_val, y_val = val_set[:]
    x_test, y_test = test[:]
    model = run.regularize(build_model())
    optimizer = torch.optim.AdamW(run.parameter_groups(model, weight_decay=0.01), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loader = DataLoader(train_set, batch_size=32, shuffle=True)
    for _ in run.epochs(EPOCHS):
        model.train()
        for x, y in loader:
            loss = F.cross_entropy(model(shift(x)), y) + run.penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.after_step(model)
        schedule.step()
        model.eval()
        with torch.no_grad():
            outputs = model(x_val)
        wrong = (outputs.argmax(1) != y_val).float().mean()
        run.log(train_loss=loss, val_loss=F.cross_entropy(outputs, y_val), val_metric=wrong)
    return study.Outcome(model(x_test), y_test)


if __name__ == "__main__":
    print(f"test error: {study.run_once(train).score().scores.value:.1%}")
