"""Transforms of images and their annotations, registered in TRANSFORMS under MMDetection's and mmcv's names."""
