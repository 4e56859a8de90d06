"""Pictures of what a run sees and says, and the report that shows them."""

from pixelwise.report.pictures import Pictures
from pixelwise.report.record import Record
from pixelwise.report.wandb_run import WandbMedia, WandbRun
from pixelwise.reports.drawing import colours, mosaic, overlay, rgb

__all__ = ["Pictures", "Record", "WandbMedia", "WandbRun", "colours", "mosaic", "overlay", "rgb"]
