"""The documents run as written, their tables are complete, their numbers are the recorded ones."""

import io
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dropkit import noise, paper
from helpers.known_sets import write_sst2
from helpers.waiting import HANGS

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/compare.md")
PAGES = sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))


def blocks(language: str, *documents: str) -> list[str]:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in documents]
    return re.findall(rf"```{language}\n(.*?)```", "\n".join(texts), flags=re.DOTALL)


def test_the_diff_applies_to_a_script_that_trains() -> None:
    (diff,) = blocks("diff", "README.md")
    before = "".join(line[1:] for line in diff.splitlines(True) if not line.startswith("+"))
    after = "".join(line[1:] for line in diff.splitlines(True) if not line.startswith("-"))
    for script, drops in ((before, False), (after, True)):
        names: dict[str, object] = {}
        torch.manual_seed(0)
        exec(script, names)
        net = names["net"]
        assert isinstance(net, torch.nn.Module)
        assert any("Dropout" in type(module).__name__ for module in net.modules()) == drops
        assert net[2 if not drops else 3].weight.norm(dim=1).max() <= 3 or not drops


@pytest.mark.parametrize("example", blocks("python", *DOCUMENTS))
def test_python_examples_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(example, {})


def test_the_network_for_film_reviews_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dropkit.cli import run

    (net,) = (code for code in blocks("python", "docs/data.md") if "Reviews" in code)
    (command,) = (line for line in blocks("sh", "docs/data.md") if "reviews.py" in line)
    (tmp_path / "reviews.py").write_text(net)
    write_sst2(tmp_path / "sst-2", sentences=40)
    monkeypatch.chdir(tmp_path)
    small = ["--epochs", "1", "--seeds", "1", "--data-dir", ".", "--out", "run"]
    assert run([*shlex.split(command)[1:], *small]) == 0


def test_commands_are_understood() -> None:
    from dropkit.study.methods.parsing import parse, parse_list

    lines = [line for block in blocks("sh", "README.md", *PAGES) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("dropkit compare")]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        if "--methods" in words:
            for method in parse_list(words[words.index("--methods") + 1]):
                parse(method)


def test_every_page_can_be_reached() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = [page.removeprefix("docs/") for page in PAGES]
    assert not [page for page in pages if f": {page}\n" not in menu]


def test_reproductions_are_named_as_they_are() -> None:
    known = set(paper.experiments())
    texts = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"dropkit reproduce ([a-z][\w-]*)", texts))
    assert named
    assert named <= known
    article = (ROOT / "docs" / "the-article.md").read_text(encoding="utf-8")
    assert not [name for name in known if not re.search(rf"{name}[` ]", article)]


def test_the_numbers_of_the_comparison_are_the_recorded_ones() -> None:
    from dropkit.study import Results

    page = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    table = Results.load(ROOT / "benchmarks" / "results" / "digits.json").table()
    for method in ("dropout", "gaussian-dropout"):
        found = 100 * table.loc[method]
        errors = f"| {100 * table.error['none']:.1f} % | {found.error:.1f} % | 5 | "
        half = (found.difference_high - found.difference_low) / 2
        assert errors + f"{found.difference:.1f} ± {half:.1f} |".replace("-", "−") in page
    for name in ("genetics", "text", "speech", "images"):
        record = ROOT / "benchmarks" / "results" / "reproduced" / f"{name}.json"
        plain, dropped, *_ = json.loads(record.read_text(encoding="utf-8"))["rows"]
        difference = f"{dropped['difference, points']:.1f} ± {dropped['its ±']:.1f}"
        (row,) = (line for line in page.splitlines() if f"(reproduced.md#{name})" in line)
        assert f"| {plain['test error %']:.1f} % | {dropped['test error %']:.1f} % |" in row
        assert f"| {plain['seeds']:.0f} | {difference.replace('-', '−')} |" in row


def test_the_comparison_of_the_readme_is_the_recorded_one() -> None:
    from rich.console import Console

    from dropkit.study import Results
    from dropkit.study.report import show

    out = io.StringIO()
    results = Results.load(ROOT / "benchmarks" / "results" / "digits.json")
    show(results.analysis, Console(file=out, width=80, color_system=None))
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("dropkit compare digits\n")[1]
    block = shown.split("```")[2]
    beginning, *others = (" ".join(part.split()) for part in block.split("\n...\n"))
    words = " ".join(out.getvalue().split())
    assert words.startswith(beginning)
    assert all(part in words for part in others)


def test_a_name_without_a_page_is_found() -> None:
    site = runpy.run_path(str(ROOT / "docs" / "public_names.py"))
    assert {"dropkit.Dropout", "dropkit.noise.Dropout"} <= site["public_names"]()
    assert site["has_page"]("dropkit.Dropout", {"dropkit.noise.Dropout", "dropkit.Dropout"})
    assert not site["has_page"]("dropkit.Dropout", {"dropkit.noise.Dropout2d"})


CHECKED = """
import os

def gathered(x):
    found = [torch.empty_like(x) for _ in range(2)]
    distributed.all_gather(found, x)
    return found

weights = gathered(torch.cat([w.detach().flatten() for w in net.parameters()]))
seen = []  # the masks of ones: what differs by the rows themselves must not count
net[2].register_forward_pre_hook(lambda layer, inputs: torch.ones_like(inputs[0]))
net[2].register_forward_hook(lambda layer, inputs, output: seen.append(output.detach()))
torch.manual_seed(0)
parallel(torch.ones(16, 8))
ours, theirs = gathered(seen[0]), gathered(nn.Dropout(0.5)(torch.ones(64)))
equal = [torch.equal(*pair) for pair in (weights, ours, theirs)]
if distributed.get_rank() == 0:
    print("equal:", *equal, f"norm {net[0].weight.norm(dim=1).max():.3f}", flush=True)
distributed.barrier()
os._exit(0)  # the group's end can wait for ever
"""


@pytest.mark.soak
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_the_distributed_script_does_what_its_page_says(tmp_path: Path) -> None:
    script, *_ = blocks("python", "docs/distributed.md")
    (tmp_path / "train.py").write_text(script + CHECKED, encoding="utf-8")
    command, *_ = blocks("sh", "docs/distributed.md")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*launch, *command.split()[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "equal: True False True norm 0.500\n"


@pytest.mark.parametrize("document", ["docs/variants.md"])
def test_every_variant_has_a_row(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith("| class | what it drops"))
    table = lines[start + 2 : lines.index("", start)]
    named = {name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    made = {name for name in noise.__all__ if isinstance(getattr(noise, name), type)}
    bases = {"Noise", "RatedNoise", "MultiplicativeNoise"}
    assert named == (made - bases) | {"r_drop_loss"}
    assert all(re.search(r"\| (19|20)\d\d \| \w", row) for row in table)
