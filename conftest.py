"""Settings for all tests: one thread a process, and what cannot be collected here."""

import os
from importlib.util import find_spec

# Tests run side by side, one process a core. This must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The CUDA kernel imports Triton when it is imported, which is on the first CUDA tensor.
collect_ignore = [] if find_spec("triton") else ["src/dropkit/random/_triton.py"]
