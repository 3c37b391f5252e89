"""Two workers of this machine."""

from collections.abc import Iterator

import pytest

from dropkit.study.workers.local import LocalWorkers


@pytest.fixture
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers(2) as workers:
        yield workers
