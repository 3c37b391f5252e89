"""Reproduce the figures and tables of Srivastava et al. 2014, and claims of an article about it."""

from dropkit.paper._nets import Maxout
from dropkit.paper._outcome import Check, Curve, Outcome, Reproduction
from dropkit.paper._reproduce import experiments, reproduce

__all__ = ["Check", "Curve", "Maxout", "Outcome", "Reproduction", "experiments", "reproduce"]
