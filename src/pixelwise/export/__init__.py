"""A finished model for other programs, checked against the one that was trained."""

from pixelwise.export.check import Agreement, compare
from pixelwise.export.contract import Format, Subject
from pixelwise.export.hub import Hub
from pixelwise.export.job import export, subject
from pixelwise.export.onnx import Onnx
from pixelwise.export.program import Program

__all__ = ["Agreement", "Format", "Hub", "Onnx", "Program", "Subject", "compare", "export", "subject"]
