"""Pictures of what a run sees and says, and the report that shows them."""

from pixelwise.report.pictures import Pictures, colours, mosaic, overlay, rgb
from pixelwise.report.record import Record

__all__ = ["Pictures", "Record", "colours", "mosaic", "overlay", "rgb"]
