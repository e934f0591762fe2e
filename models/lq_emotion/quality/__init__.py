"""How far an estimate can be trusted: the conditions a face was seen under, and what errors they led to."""

from lq_emotion.quality.calibration import Calibration
from lq_emotion.quality.measures import Condition, measure
from lq_emotion.quality.trust import Trust

__all__ = ["Calibration", "Condition", "Trust", "measure"]
