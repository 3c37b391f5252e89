"""The result of the doctor: a diagnosis with findings."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Diagnosis", "Finding"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A problem of a model, or a note.

    Attributes:
        check: name of the check, such as ``"doubled"``.
        path: name of the module, as in ``named_modules``; ``""`` is the model itself.
        severity: ``"error"`` if dropout does not work as intended, ``"warning"`` if it is likely to
            harm training or predictions, ``"note"`` if it is harmless.
        evidence: what the doctor observed, with numbers.
        remedy: what to do.
    """

    check: str
    path: str
    severity: Severity
    evidence: str
    remedy: str

    def __str__(self) -> str:
        where = self.path or "the model"
        return f"{self.severity}: {where}: {self.evidence} [{self.check}]\n    {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """The result of ``doctor``.

    Attributes:
        findings: all findings; errors first, notes last.
        skipped: the checks that could not run, each with the reason.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there are no errors or warnings."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as lists and dictionaries for JSON."""
        return {
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings] or ["no findings"]
        return "\n".join([*lines, *(f"not examined: {reason}" for reason in self.skipped)])
