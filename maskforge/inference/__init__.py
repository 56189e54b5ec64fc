"""Prediction from Python and in batch jobs: images, folders, patterns; PyTorch models and exported ONNX files."""
from .batch_job import run_inference
from .image_list import InputImage, list_images
from .inferencer import Inferencer
from .load_model import load_model
from .onnx_model import OnnxModel

__all__ = ['Inferencer', 'InputImage', 'OnnxModel', 'list_images', 'load_model', 'run_inference']
