"""What the suite cannot collect here."""

from importlib.util import find_spec

# The CUDA kernel imports Triton when it is imported, which is on the first CUDA tensor.
collect_ignore = [] if find_spec("triton") else ["src/dropkit/random/_triton.py"]
