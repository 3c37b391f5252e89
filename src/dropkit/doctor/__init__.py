"""What is wrong with the dropout in a model: ``doctor`` runs it, measures and says what to do."""

from dropkit.doctor.examine import doctor
from dropkit.doctor.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "doctor"]
