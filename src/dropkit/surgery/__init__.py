"""Insert, replace and remove dropout in a model; list and set its rates.

Functions that change a model work on a copy by default; only `schedule_rates` always changes the
model itself. All of them keep weights, dtype, device and mode; all except `wrap` also keep the
``state_dict`` keys. A module that is shared under several names stays shared. The returned `Report`
lists the changes and can undo them.
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
