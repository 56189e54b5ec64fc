"""Reading one image, with errors that name the file."""
import mmcv
import numpy as np
from mmcv import transforms as mmcv_transforms
from mmengine import fileio

from maskforge.formats.whole_image import check_whole
from maskforge.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(mmcv_transforms.LoadImageFromFile):
    """Read ``results['img_path']`` into ``results['img']``, (H, W, 3) uint8, BGR.

    Grey, palette, 16-bit and transparent images become three 8-bit channels. As in MMDetection, the orientation in a
    photo's EXIF data is applied; annotations made on the unrotated pixels need
    ``color_type='color_ignore_orientation'`` (a record whose size is the unrotated one is an error that says so).
    Arguments are mmcv's: to_float32, color_type, imdecode_backend, ignore_empty, backend_args.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no image, ends early, or has another size than the record's width and height.
    """

    def transform(self, results: dict) -> dict | None:
        try:
            img = self._read(results['img_path'])
            _check_size(img, results)
        except (OSError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise FileNotFoundError(f'image file {path} does not exist; check data_root and data_prefix of the '
                                    f'data set, and file_name of the record') from None
        check_whole(content, path)
        img = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend) if content else None
        if img is None:
            raise ValueError(f'{path} cannot be decoded as an image ({len(content)} bytes)')
        return img


@TRANSFORMS.register_module()
class LoadImageFromNDArray(LoadImageFromFile):
    """Take the image from ``results['img']``, (H, W, 3) BGR, as inference on arrays does."""

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.ndim != 3 or img.shape[2] != 3:
            raise ValueError(f'an image array must have the shape (H, W, 3), got {img.shape}')
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results.setdefault('img_path', None)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        results['height'], results['width'] = img.shape[:2]
        return results


def _check_size(img: np.ndarray, results: dict) -> None:
    recorded = results.get('height'), results.get('width')
    found = img.shape[:2]
    if None in recorded or recorded == found:
        return
    hint = ''
    if recorded == found[::-1]:
        hint = ("; where the photo's EXIF data turn it and the annotations are for the unturned pixels, set "
                "color_type='color_ignore_orientation' in LoadImageFromFile")
    raise ValueError(f"{results['img_path']} has {found[1]} x {found[0]} pixels (width x height), its record says "
                     f'{recorded[1]} x {recorded[0]}{hint}')
