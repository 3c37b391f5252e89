"""Infer from the name of a score whether higher is better, and whether scores are fractions."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOWER = frozenset(
    {"error", "err", "loss", "nll", "ce", "perplexity", "ppl", "rmse", "mse", "mae", "mape",
     "wer", "cer", "ter", "fid", "kid", "brier", "ece", "bpc", "bpb", "regret", "hausdorff",
     "misclassification", "deviance", "entropy", "distance"}
)  # fmt: skip
_HIGHER = frozenset(
    {"accuracy", "acc", "auc", "auroc", "auprc", "ap", "map", "f1", "fbeta", "precision",
     "recall", "sensitivity", "specificity", "bleu", "sacrebleu", "rouge", "rouge1", "rouge2",
     "rougel", "meteor", "chrf", "comet", "r2", "iou", "miou", "dice", "psnr", "ssim", "mcc",
     "kappa", "ndcg", "mrr", "em", "reward", "return", "success", "win", "elo", "score",
     "correlation", "pearson", "spearman", "likelihood", "elbo", "top1", "top5", "exactmatch"}
)  # fmt: skip
_SHARES = frozenset(
    {"error", "err", "accuracy", "acc", "auc", "auroc", "auprc", "ap", "map", "f1", "precision",
     "recall", "sensitivity", "specificity", "iou", "miou", "dice", "em", "success", "wer",
     "cer", "misclassification", "top1", "top5", "exactmatch"}
)  # fmt: skip
_NO_SHARES = frozenset(
    {"squared", "absolute", "square", "abs", "mean", "std", "calibration", "relative", "log"}
)  # fmt: skip
_PARTS = (("test", "testing"), ("eval", "evaluation"), (), ("val", "valid", "validation", "dev"))
_WORDS = {
    "acc": "accuracy", "err": "error", "val": "validation", "auc": "AUC", "auroc": "AUROC",
    "f1": "F1", "bleu": "BLEU", "rmse": "RMSE", "mse": "MSE", "mae": "MAE", "nll": "NLL",
    "wer": "WER", "iou": "IoU", "r2": "R²",
}  # fmt: skip
_PREFIX = re.compile(r"^(metrics?|summary)[./]")


def find_direction(name: str) -> bool | None:
    """Return whether a higher score is better, or ``None`` if its name does not show it.

    >>> [find_direction(name) for name in ("test_acc", "metrics.rmse", "neg_log_loss", "value")]
    [True, False, True, None]
    """
    words = _split(name)
    lower, higher = bool(_LOWER & words), bool(_HIGHER & words)
    if not (lower or higher):
        return None
    # A word for a loss decides, even beside a word for a gain: `f1_error`, `log likelihood loss`.
    return lower if words & {"neg", "negative"} else not lower


def is_share(name: str, values: Iterable[float]) -> bool:
    """Return whether scores are fractions of one, which are shown in per cent.

    >>> is_share("test_acc", [0.9, 0.95]), is_share("test_acc", [90.0]), is_share("mse", [0.1])
    (True, False, False)
    """
    words = _split(name)
    return bool(words & _SHARES and not words & _NO_SHARES) and all(0 <= v <= 1 for v in values)


def rank_part(name: str) -> int:
    """Rank the rows that a score was measured on: test rows first, training rows last."""
    words = _split(name)
    if words & {"train", "training"}:
        return len(_PARTS)
    found = [rank for rank, part in enumerate(_PARTS) if words & {*part}]
    return found[0] if found else _PARTS.index(())


def describe(name: str) -> str:
    """Return the name of a score in words.

    >>> describe("metrics.test_acc")
    'test accuracy'
    """
    parts = re.split(r"[\s_./-]+", _PREFIX.sub("", name).strip())
    return " ".join(_WORDS.get(part.lower(), part) for part in parts if part)


def _split(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # testAcc
    return {word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word}
