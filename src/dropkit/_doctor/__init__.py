"""Find mistakes with dropout in a model: ``doctor`` runs the model and recommends fixes."""

from dropkit._doctor.examine import doctor
from dropkit._doctor.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "doctor"]
