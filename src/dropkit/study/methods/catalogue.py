"""List the methods of `dropkit compare`; each is an entry of a tuple in one of these files.

Default rates follow the practical guide of Srivastava et al. 2014 (Appendix A). Hidden units are
dropped with probability 0.5 and inputs with 0.2, and the norm of every unit's incoming weights is
at most 3.

All methods train with the same learning rate and momentum, except ``paper-dropout``, which follows
the guide: its momentum is 0.95, and its learning rate is larger. The guide recommends 10 to 100
times the learning rate of the baseline. Here the factor is 2: the default learning rate of 0.05
suits the baseline, and twice 0.05 is 0.1, which the first author used. With a tenth of 0.1, the
baseline would be undertrained, and dropout would look too good.

``larger-steps`` is the baseline with the learning rate and momentum of ``paper-dropout``. This
method separates the effect of dropout from the effect of larger steps.
"""

from dropkit.study.methods._classic import CLASSIC
from dropkit.study.methods._units import UNITS
from dropkit.study.methods._unsampled import UNSAMPLED
from dropkit.study.methods._wrapping import WRAPPING
from dropkit.study.methods.method import Method

METHODS: dict[str, Method] = {
    method.name: method for method in (*CLASSIC, *UNITS, *UNSAMPLED, *WRAPPING)
}
