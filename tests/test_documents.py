"""The examples of README and guide run as written, and their tables are complete."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from dropkit import noise

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/compare.md")


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


def test_commands_are_understood() -> None:
    from dropkit.study.expression import parse, parse_list

    lines = [line for block in blocks("sh", *DOCUMENTS) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("dropkit compare")]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        if "--methods" in words:
            for method in parse_list(words[words.index("--methods") + 1]):
                parse(method)


@pytest.mark.parametrize("document", ["README.md", "docs/variants.md"])
def test_every_variant_has_a_row(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith("| class | what it drops"))
    table = lines[start + 2 : lines.index("", start)]
    named = {name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    made = {name for name in noise.__all__ if isinstance(getattr(noise, name), type)}
    bases = {"Noise", "RatedNoise", "MultiplicativeNoise"}
    assert named == (made - bases) | {"r_drop_loss"}
    assert all(re.search(r"\| (19|20)\d\d \| \w", row) for row in table)
