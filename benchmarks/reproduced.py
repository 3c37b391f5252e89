"""The short and medium runs of `dropkit reproduce`, recorded, and the page that shows them.

    for name in $(python -c "from dropkit import paper; print(*paper.experiments())"); do
      dropkit reproduce $name --budget short
    done
    python benchmarks/reproduced.py dropkit-runs

Copies the JSON of every NAME-short and NAME-medium folder to benchmarks/results/reproduced/, its
picture to docs/images/reproduced/, and the finished trainings of a medium run, which takes several
days, to benchmarks/results/reproduced/trainings/. Writes docs/reproduced.md. To resume a medium
run, copy these trainings to dropkit-runs/NAME-medium/trainings/.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "reproduced"
PICTURES = ROOT / "docs" / "images" / "reproduced"
PAGE = ROOT / "docs" / "reproduced.md"

# In the order of the paper.
NAMES = (
    "figure-4",
    "table-mnist",
    "table-regularizers",
    "figure-7",
    "figure-8",
    "figure-9",
    "figure-10",
    "figure-11",
    "table-gaussian",
    "linear-regression",
    "images",
    "speech",
    "text",
    "sentiment",
    "genetics",
    "cost",
)


def main() -> None:
    """Record what there is, and say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder with NAME-short folders")
    runs = parser.parse_args().runs
    RESULTS.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        for budget, recorded in (("short", name), ("medium", f"{name}-medium")):
            folder = runs / f"{name}-{budget}"
            if not (folder / f"{name}.json").exists():
                continue
            shutil.copy(folder / f"{name}.json", RESULTS / f"{recorded}.json")
            shutil.copy(folder / f"{name}.svg", PICTURES / f"{recorded}.svg")
            if budget == "medium":
                shutil.copytree(folder / "trainings", RESULTS / "trainings", dirs_exist_ok=True)
    found = {
        recorded: json.loads((RESULTS / f"{recorded}.json").read_text(encoding="utf-8"))
        for name in NAMES
        for recorded in (f"{name}-medium", name)
        if (RESULTS / f"{recorded}.json").exists()
    }
    PAGE.write_text(page(found), encoding="utf-8")
    missing = [name for name in NAMES if name not in found]
    print(f"recorded {len(found)}, missing: {', '.join(missing) or 'none'}")


def page(found: dict[str, dict[str, Any]]) -> str:
    """Return the page: one table of all checks, then every picture with its statement."""
    machine = next(iter(found.values()))["environment"]
    processors = " or ".join(sorted({run["environment"]["processor"] for run in found.values()}))
    lines = [
        "# Results of the reproduction",
        "",
        "These are the results of [`dropkit reproduce`](reproduce.md) with the *short* budget, and "
        "with *medium* if the name says so, "
        f"recorded on two shared cores ({processors}), torch {machine['torch']}, Python "
        f"{machine['python']}, dropkit {machine['dropkit']}. We did not run the *full* budget of "
        "up to a million updates, because no GPU was available; for figures 7 and 8 it equals the "
        "short one. *Budget too short* means that the paper's range applies to its full protocol, "
        "and a shorter run misses it. Numbers marked † come from secondary sources, ‡ from memory. "
        "The machine was busy with other work: errors and ratios of updates are valid, seconds are "
        "approximate.",
        "",
        "| | measured | | paper | verdict |",
        "|---|---|---|---|---|",
    ]
    for name, run in found.items():
        for i, check in enumerate(run["checks"]):
            first = f"[`{name}`](#{name})" if i == 0 else ""
            cells = (check["what"], number(check["measured"]), check["paper"], check["verdict"])
            lines.append(f"| {first} | " + " | ".join(map(plain, cells)) + " |")
    missing = [name for name in NAMES if name not in found]
    if missing:
        lines += ["", f"Not recorded yet: {', '.join(f'`{name}`' for name in missing)}."]
    for name, run in found.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"{run['title']}. {run['source']}.",
            "",
            f"![{run['title']}](images/reproduced/{name}.svg)",
            "",
            f"`{run['command']}`, {run['date']}, {duration(run['seconds'])}. {run['statement']}",
            "",
            *table(run["rows"]),
        ]
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as a Markdown table."""
    head = "| " + " | ".join(map(plain, rows[0])) + " |"
    body = ["| " + " | ".join(plain(number(v)) for v in row.values()) + " |" for row in rows]
    return [head, "|---" * len(rows[0]) + "|", *body]


def number(value: str | float | None) -> str:
    """Return a number with four digits, or with thousands where it is large."""
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def plain(text: str) -> str:
    """Return text that ends no cell."""
    return text.replace("|", "\\|")


def duration(seconds: float) -> str:
    """Return seconds or minutes, or that nothing was left to train."""
    if seconds < 1:
        return "from finished runs"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
