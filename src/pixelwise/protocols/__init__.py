"""How images are evaluated, and the names of the scores, for reports and config keys, too: without torch."""

from pixelwise.protocols.evaluation import EvaluationProtocol
from pixelwise.protocols.score_names import ERODED, ScoreName

__all__ = ["ERODED", "EvaluationProtocol", "ScoreName"]
