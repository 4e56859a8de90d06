"""Pictures of what a run sees and says."""

from pixelwise.report.pictures import BatchPictures, colours, mosaic, overlay

__all__ = ["BatchPictures", "colours", "mosaic", "overlay"]
