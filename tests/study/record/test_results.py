"""Results as text: the format of the file, and the memory that writing it takes."""

import json
import tracemalloc

from dropkit.study import Results
from helpers.fabricated import make_results, make_run


def test_writing_takes_a_few_times_the_text() -> None:
    loss = [1 / (epoch + 3) for epoch in range(50)]
    runs = [make_run("none", seed, 0.1, val_loss=loss) for seed in range(300)]
    results = make_results({"none": [0.1]}, runs=runs)
    text = results.to_json()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
    tracemalloc.start()
    results.to_json()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * len(text)


def test_reading_takes_less_than_twice_the_text() -> None:
    runs = [
        make_run("none", seed, 0.1, val_loss=[1 / (epoch + seed + 3) for epoch in range(50)])
        for seed in range(300)
    ]
    results = make_results({"none": [0.1]}, runs=runs)
    text = results.to_json()
    tracemalloc.start()
    assert Results.from_json(text) == results
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * len(text)
