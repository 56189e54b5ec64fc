"""What transforms do to the truth of one image, all ``gt_*`` entries of ``results`` in step."""
import numpy as np

Number = int | float
#: the value of pixels without a class in gt_seg_map, unless results['ignore_index'] says another
VOID = 255
# entries with one value per image; every other gt_* entry has one value per instance
PER_IMAGE = frozenset({'gt_seg_map', 'gt_panoptic_map', 'gt_label'})


def instance_keys(results: dict) -> list[str]:
    """Names of the entries that hold one value per instance."""
    return [key for key, value in results.items()
            if key.startswith('gt_') and key not in PER_IMAGE and value is not None]


def select_instances(results: dict, chosen: np.ndarray) -> None:
    """Keep the instances that ``chosen`` (bool (N,) or indices) picks, in every per-instance entry of ``results``.

    Raises:
        ValueError: an entry has another number of instances than the mask of choices.
    """
    for key in instance_keys(results):
        if chosen.dtype == bool and len(results[key]) != len(chosen):
            raise ValueError(f"results['{key}'] has {len(results[key])} instances, the other gt_* entries "
                             f'{len(chosen)}; an entry per image must not start with gt_')
        results[key] = results[key][chosen]


def scale_boxes(boxes: np.ndarray, factors: tuple[Number, Number]) -> np.ndarray:
    """Multiply xyxy boxes by (x, y) factors; float32."""
    return (boxes * np.tile(np.asarray(factors), 2)).astype(np.float32)


def clip_boxes(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Clip xyxy boxes to an image of ``shape`` (h, w)."""
    height, width = shape
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32))


def has_extent(boxes: np.ndarray) -> np.ndarray:
    """Return which xyxy boxes are wider and higher than zero."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def resized_by(results: dict) -> tuple[Number, Number]:
    """Return the (x, y) factors from the original image to the current one, for transforms that load annotations.

    Raises:
        ValueError: the image was cropped, padded or flipped before.
    """
    (height, width), (ori_height, ori_width) = results['img_shape'], results['ori_shape']
    factors = tuple(results.get('scale_factor', (1, 1)))
    expected = round(ori_height * factors[1]), round(ori_width * factors[0])
    if results.get('flip') or expected != (height, width):
        raise ValueError('annotations must be loaded before crops, pads and flips in the pipeline: the image of '
                         f'(h, w) = {(ori_height, ori_width)} is now {(height, width)}'
                         f'{" and flipped" if results.get("flip") else ""}')
    return factors
