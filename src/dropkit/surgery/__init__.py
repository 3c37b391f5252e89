"""Put dropout into a model, exchange it, take it out; list and set its rates.

What changes a model works on a copy unless told otherwise (but for `schedule_rates`), keeps
weights, dtype, device, mode and (but for `wrap`) ``state_dict`` keys, treats shared modules as one,
and says what it changed, which its report can undo.
"""

from dropkit.surgery._insert import insert
from dropkit.surgery._places import dropout_layers
from dropkit.surgery._rates import rates, schedule_rates, set_rates
from dropkit.surgery._replace import replace
from dropkit.surgery._report import Report
from dropkit.surgery._strip import strip
from dropkit.surgery._wrap import wrap

__all__ = [
    "Report",
    "dropout_layers",
    "insert",
    "rates",
    "replace",
    "schedule_rates",
    "set_rates",
    "strip",
    "wrap",
]
