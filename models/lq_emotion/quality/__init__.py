"""Trust in an estimate: the conditions of a face, and the errors that they led to in a calibration."""

from lq_emotion.quality.calibration import Calibration, Trust
from lq_emotion.quality.measures import Condition, measure

__all__ = ["Calibration", "Condition", "Trust", "measure"]
