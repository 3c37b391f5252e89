"""The figures and tables of Srivastava et al. 2014, and the article's, reproduced from data."""

from dropkit.paper._nets import Maxout
from dropkit.paper._outcome import Check, Curve, Outcome, Reproduction
from dropkit.paper._reproduce import experiments, reproduce

__all__ = ["Check", "Curve", "Maxout", "Outcome", "Reproduction", "experiments", "reproduce"]
