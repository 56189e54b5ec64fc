"""Prediction from Python and in batch jobs (PyTorch and ONNX), and masks for boxes of whole data sets."""
from .batch_job import run_inference
from .image_list import InputImage, list_images
from .inferencer import Inferencer
from .label_job import label_boxes
from .load_model import load_model
from .onnx_image_predictor import OnnxImagePredictor
from .onnx_model import OnnxModel
from .review_page import write_review

__all__ = ['Inferencer', 'InputImage', 'OnnxImagePredictor', 'OnnxModel', 'label_boxes', 'list_images', 'load_model',
           'run_inference', 'write_review']
