from inspect import signature

import cv2
import numpy as np
import pytest

from maskforge.datasets import BoxCropDataset
from maskforge.datasets.box_prompt import CROP_SETTINGS
from maskforge.formats.json_file import write_json
from maskforge.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((20, 30, 3), 10 * number, np.uint8))
    boxes = [(1, [2, 3, 10, 8]), (1, [25, 10, 20, 5]), (2, [0, 0, 5, 5])]
    write_json(dict(images=[dict(id=n, file_name=f'{n}.png', height=20, width=30) for n in (1, 2)],
                    categories=[dict(id=7, name='cat')],
                    annotations=[dict(id=10 + row, image_id=image, category_id=7, bbox=box, area=box[2] * box[3],
                                      iscrowd=0) for row, (image, box) in enumerate(boxes)]),
               tmp_path / 'boxes.json')
    return tmp_path


def test_boxes_are_prompts_in_whole_images(folder):
    dataset = DATASETS.build(dict(type='BoxPromptDataset', ann_file=str(folder / 'boxes.json'),
                                  data_prefix=dict(img=str(folder))))
    samples = [dataset[index] for index in range(len(dataset))]
    assert [sample['data_samples'].ann_id for sample in samples] == [10, 11, 12]
    assert [tuple(sample['inputs'].shape) for sample in samples] == [(3, 20, 30)] * 3
    assert samples[0]['inputs'] is samples[1]['inputs'] and samples[2]['inputs'][0, 0, 0] == 20
    second = samples[1]['data_samples']
    assert second.gt_instances.bboxes.tolist() == [[25, 10, 30, 15]] and second.box_area == 25
    assert second.ori_shape == second.img_shape == (20, 30) and second.category_id == 7


@pytest.mark.parametrize('settings', [dict(crop_size=96), dict(flip_prob=0., border='zero'), dict(test_mode=False)])
def test_settings_of_crops_are_refused(folder, settings):
    with pytest.raises(ValueError, match=f'{next(iter(settings))}.*would have no effect.*BoxCropDataset'):
        DATASETS.build(dict(type='BoxPromptDataset', ann_file=str(folder / 'boxes.json'),
                            data_prefix=dict(img=str(folder)), **settings))


def test_every_setting_of_crops_is_known():
    arguments = signature(BoxCropDataset.__init__).parameters
    own = {name for name, parameter in arguments.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert own - {'load_mask'} == CROP_SETTINGS
