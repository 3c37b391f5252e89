"""A small BERT and Hugging Face's ``Trainer`` on film reviews of one sentence.

The model is made from a configuration and the sentences from words, so that nothing is downloaded;
with ``from_pretrained`` and a data set of your own, the lines that dropkit needs are the same.

    python examples/hugging_face_trainer.py                    # an ordinary training
    dropkit compare examples/hugging_face_trainer.py:train     # which dropout helps it?
"""

import random
import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from dropkit import study
from dropkit.adapters.transformers import TrialCallback

EPOCHS = 10

logging.set_verbosity_error()
GOOD = ["moving", "funny", "gripping", "warm", "clever", "tender", "brilliant", "wise"]
BAD = ["dull", "clumsy", "boring", "cold", "silly", "tired", "hollow", "loud"]
WORDS = [*GOOD, *BAD, "film", "plot", "cast", "score", "is", "was", "not", "never", "and"]
LONGEST = 9


def write_review(draw: random.Random) -> tuple[list[str], int]:
    """A sentence, and whether it praises; some reviewers change their minds in a label."""
    praises = draw.random() < 0.5
    words = []
    for part in range(draw.choice([1, 2])):
        turned = draw.random() < 0.3
        word = draw.choice(GOOD if praises != turned else BAD)
        denied = [draw.choice(["not", "never"])] if turned else []
        subject = draw.choice(["film", "plot", "cast", "score"])
        words += ["and"] * part + [subject, draw.choice(["is", "was"]), *denied, word]
    return words, int(praises if draw.random() < 0.9 else not praises)


def make_rows(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    draw, rows = random.Random(seed), []
    for _ in range(count):
        words, label = write_review(draw)
        numbers = [1 + WORDS.index(word) for word in words]
        padding = [0] * (LONGEST - len(numbers))
        rows.append(
            {
                "input_ids": torch.tensor(numbers + padding),
                "attention_mask": torch.tensor([1] * len(numbers) + padding),
                "labels": torch.tensor(label),
            }
        )
    return rows


def train(run: study.Trial) -> study.Outcome:
    torch.manual_seed(run.seed)
    test, val = make_rows(400, seed=-1), make_rows(200, seed=-2)
    config = BertConfig(
        vocab_size=1 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
    model = run.regularize(BertForSequenceClassification(config))
    optimizer = torch.optim.AdamW(run.parameter_groups(model, weight_decay=0.01), lr=5e-3)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=200,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=run.seed,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=make_rows(200, run.seed),
            eval_dataset=val,
            optimizers=(optimizer, None),
            callbacks=[TrialCallback(run)],
        )
        trainer.train()
        found = trainer.predict(test)
    return study.Outcome(found.predictions, found.label_ids)


if __name__ == "__main__":
    print(f"test error: {study.once(train).score().scores.value:.1%}")
