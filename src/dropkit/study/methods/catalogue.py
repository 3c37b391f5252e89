"""The methods that `dropkit compare` knows: each is one entry of one file's tuple.

Rates follow the practical guide of Srivastava et al. 2014 (Appendix A, not read first-hand):
hidden units dropped with probability 0.5, inputs with 0.2, a norm of at most 3 for the incoming
weights of every unit. All methods train with the same learning rate and momentum, but for
``paper-dropout``, which has those of the guide: a momentum of 0.95, and a larger learning rate. The
guide's is 10 to 100 times the plain one; here it is twice, since the plain net's own rate is chosen
to serve it well: together they give the first author's 0.1, and a plain net at a tenth of that
would be undertrained, which would flatter dropout. ``larger-steps`` is the plain net at that rate
and momentum, so that what dropout does can be told from what they do.
"""

from dropkit.study.methods._classic import CLASSIC
from dropkit.study.methods._units import UNITS
from dropkit.study.methods._unsampled import UNSAMPLED
from dropkit.study.methods._wrapping import WRAPPING
from dropkit.study.methods.method import Method

METHODS: dict[str, Method] = {
    method.name: method for method in (*CLASSIC, *UNITS, *UNSAMPLED, *WRAPPING)
}
