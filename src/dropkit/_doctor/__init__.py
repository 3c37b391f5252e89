"""Find mistakes with dropout in a model: ``doctor`` runs it, measures, and says what to do."""

from dropkit._doctor.examine import doctor
from dropkit._doctor.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "doctor"]
