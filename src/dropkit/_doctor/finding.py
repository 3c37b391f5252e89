"""Define the findings and the diagnosis that the doctor returns."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Diagnosis", "Finding"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One problem of a model, or something worth knowing.

    Attributes:
        check: which check found it, such as ``"doubled"``.
        path: name of the module, as in ``named_modules``; ``""`` is the model itself.
        severity: ``"error"`` if the model does not do what its code says, ``"warning"`` if it does
            but this is likely to hurt, ``"note"`` if it is harmless.
        seen: the evidence, with numbers.
        remedy: what to do.
    """

    check: str
    path: str
    severity: Severity
    seen: str
    remedy: str

    def __str__(self) -> str:
        where = self.path or "the model"
        return f"{self.severity}: {where}: {self.seen} [{self.check}]\n    {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """The result of ``doctor``.

    Attributes:
        findings: all findings; errors first, notes last.
        skipped: what could not be examined, each with the reason.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there are no errors or warnings."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dictionaries, as JSON takes them."""
        return {
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings] or ["no findings"]
        return "\n".join([*lines, *(f"not examined: {reason}" for reason in self.skipped)])
