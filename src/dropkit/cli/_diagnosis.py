"""Print a diagnosis to the terminal."""

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from dropkit._doctor import Diagnosis


def show(diagnosis: Diagnosis) -> None:
    """Print each finding with its place, the evidence, and the fix."""
    console = Console()
    look = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
    for found in diagnosis.findings:
        title = Text.assemble(
            (found.severity, look[found.severity]), f" {found.path or 'the model'} ",
            (f"[{found.check}]", "dim"),
        )  # fmt: skip
        console.print(title)
        console.print(Padding(Text(found.evidence), (0, 0, 0, 2)))
        console.print(Padding(Text(f"→ {found.remedy}", style="dim"), (0, 0, 1, 2)))
    for reason in diagnosis.skipped:
        console.print(Text(f"not examined: {reason}", style="dim"))
    count = len(diagnosis.findings)
    console.print(f"{count} finding{'s' * (count > 1)}" if count else "no findings")
