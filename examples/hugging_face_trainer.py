"""A small BERT and Hugging Face's ``Trainer`` on SST-2: is a film review good or bad?

The model is created from a configuration; with ``from_pretrained`` the calls of dropkit are the
same. SST-2 is read from ``$DROPKIT_DATA``, or downloaded if the variable is not set.

    python examples/hugging_face_trainer.py                    # train once
    dropkit compare examples/hugging_face_trainer.py:train     # compare dropout rates
"""

import sys
import tempfile

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from dropkit import study
from dropkit.study.data import DataError, load_sst2

EPOCHS = 6
ROWS = 1500  # of 6,920 training sentences
VAL_ROWS = 872  # the last sentences: SST-2's development set

logging.set_verbosity_error()


def make_rows(sentences: np.ndarray, labels: np.ndarray) -> list[dict[str, torch.Tensor]]:
    """Return sentences in the form that the Trainer expects; word 0 is padding."""
    return [
        {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": label}
        for ids, label in zip(torch.tensor(sentences), torch.tensor(labels), strict=True)
    ]


def train(run: study.TrainingRun) -> study.Outcome:
    torch.manual_seed(run.seed)
    data = load_sst2()
    config = BertConfig(
        vocab_size=int(data.X.max()) + 1,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=data.X.shape[1],
    )
    model = run.regularize(BertForSequenceClassification(config))
    optimizer = torch.optim.AdamW(run.parameter_groups(model, weight_decay=0.01), lr=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=256,
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
            train_dataset=make_rows(data.X[:ROWS], data.y[:ROWS]),
            eval_dataset=make_rows(data.X[-VAL_ROWS:], data.y[-VAL_ROWS:]),
            optimizers=(optimizer, None),
            callbacks=run.transformers_callbacks(),
        )
        trainer.train()
        found = trainer.predict(make_rows(data.X_test, data.y_test))
    return study.Outcome(found.predictions, found.label_ids)


if __name__ == "__main__":
    try:
        print(f"test error: {study.run_once(train).score().scores.value:.1%}")
    except DataError as error:
        sys.exit(str(error))
