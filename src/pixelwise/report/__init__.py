"""Pictures of what a run sees and says."""

from pixelwise.report.pictures import Pictures, colours, mosaic, overlay, rgb

__all__ = ["Pictures", "colours", "mosaic", "overlay", "rgb"]
