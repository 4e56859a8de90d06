"""Export a trained model for other programs, and compare the export with the trained model."""

from pixelwise.export.agreement import Agreement, compare
from pixelwise.export.export import export, subject
from pixelwise.export.format import Format, Subject
from pixelwise.export.hub import Hub
from pixelwise.export.onnx_format import Onnx
from pixelwise.export.torch_export import Program

__all__ = ["Agreement", "Format", "Hub", "Onnx", "Program", "Subject", "compare", "export", "subject"]
