"""The examples of the README and of the guide to compare run as written."""

import re
import shlex
from pathlib import Path

import pytest
import torch

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
