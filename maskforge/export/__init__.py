"""Checked ONNX files: the export loop, the file's metadata, the preprocessing it describes."""
from .export_loop import ExportLoop, class_facts, find_test_pipeline
from .export_report import ExportReport, OutputDifference
from .numerical_check import open_session
from .onnx_metadata import parse_metadata
from .onnx_writer import write_onnx
from .preprocessing import Preprocessing

__all__ = [
           'ExportLoop',
           'ExportReport',
           'OutputDifference',
           'Preprocessing',
           'class_facts',
           'find_test_pipeline',
           'open_session',
           'parse_metadata',
           'write_onnx',
]
