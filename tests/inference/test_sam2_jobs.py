"""SAM 2 behind the commands: boxes of a COCO file, images without boxes, videos."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from tiny_sam2 import TINY

from maskforge.cli import infer, track
from maskforge.formats.palette_png import read_id_png, write_palette_png
from maskforge.inference import Inferencer, label_boxes
from maskforge.inference.video_input import FrameFolder, VideoFile, open_frames
from maskforge.inference.video_job import track_video
from maskforge.inference.video_prompts import read_first_masks, read_video_prompts
from maskforge.registry import MODELS
from maskforge.structures import InstanceMasks

SIZE, FRAMES = (40, 60), 4


class Other(BaseModel):
    """No SAM 2."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    model = MODELS.build(dict(type='SAM2', network=dict(TINY))).eval()
    with torch.no_grad():
        model.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(5)
    model.dataset_meta = dict(classes=())
    return model


@pytest.fixture
def cfg():
    return Config(dict(default_scope='maskforge', model=dict(type='SAM2', network=dict(TINY)),
                       test_dataloader=dict(dataset=dict(type='WholeVideoDataset'))))


@pytest.fixture
def video(tmp_path):
    folder = tmp_path / 'clip'
    folder.mkdir()
    for frame in range(FRAMES):
        cv2.imwrite(str(folder / f'{frame:05d}.jpg'), picture(frame))
    return folder


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, SIZE[::-1])


def boxes_file(folder):
    boxes = [(1, [5, 5, 30, 20]), (1, [20, 10, 25, 25]), (2, [2, 2, 40, 30]), (2, [300, 2, 5, 5])]
    content = dict(images=[dict(id=n, file_name=f'{n - 1:05d}.jpg', height=SIZE[0], width=SIZE[1]) for n in (1, 2)],
                   categories=[dict(id=3, name='thing')],
                   annotations=[dict(id=row, image_id=image, category_id=3, bbox=box, area=box[2] * box[3], iscrowd=0)
                                for row, (image, box) in enumerate(boxes)])
    path = folder / 'boxes.json'
    path.write_text(json.dumps(content))
    return path


def test_boxes_of_a_coco_file_get_masks_and_an_image_is_encoded_once(model, cfg, video, tmp_path, monkeypatch):
    calls = []
    encode = model.network.encode_images
    monkeypatch.setattr(model.network, 'encode_images', lambda images: (calls.append(1), encode(images))[1])
    out = label_boxes(model, boxes_file(tmp_path), video, tmp_path / 'out.json', cfg=cfg, batch_size=8, review=0)
    labelled = json.loads(out.read_text())['annotations']
    assert len(calls) == 2
    assert [one['flags'] for one in labelled[:3]] == [[]] * 3 and labelled[3]['quality'] is None
    for one in labelled[:3]:
        assert one['segmentation']['size'] == list(SIZE) and 0 < one['quality'] <= 1 and one['category_id'] == 3
        assert 0 <= one['box_agreement'] <= 1
    # the order of boxes in batches does not matter
    single = label_boxes(model, boxes_file(tmp_path), video, tmp_path / 'single.json', cfg=cfg, batch_size=1, review=0)
    masks = [[one['segmentation'] for one in json.loads(path.read_text())['annotations'][:3]] for path in (out, single)]
    assert InstanceMasks.from_rles(masks[0]).to_bitmaps().mean() == pytest.approx(
        InstanceMasks.from_rles(masks[1]).to_bitmaps().mean(), abs=1e-3)


@pytest.mark.parametrize('prompts', ['clicks', 'everything'])
def test_labels_are_of_boxes(prompts, cfg, video, tmp_path):
    model = MODELS.build(dict(type='SAM2', network=dict(TINY), test_cfg=dict(prompts=prompts)))
    with pytest.raises(ValueError, match=f"test_cfg.prompts='{prompts}' gives no mask of every box.*prompts=boxes"):
        label_boxes(model, boxes_file(tmp_path), video, tmp_path / 'out.json', cfg=cfg)
    assert not (tmp_path / 'out.json').exists()


def test_images_without_boxes_are_segmented_whole(model, cfg, video):
    model.image_prompting = type(model.image_prompting)(
        automatic=dict(points_per_side=3, pred_iou_thresh=0., stability_score_thresh=0.))
    [sample] = Inferencer(model, cfg=cfg)([picture(0)])
    found = sample.pred_instances
    assert len(found) and found.masks.to_bitmaps().shape[1:] == SIZE
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / 'prompts.json'
    path.write_text(json.dumps([dict(object=1, frame=0, points=[[20, 20]], labels=[1]),
                                dict(object=2, frame=2, box=[5, 5, 40, 30])]))
    return path


@pytest.mark.parametrize('both_ways, start', [(False, 2), (True, 0)])
def test_a_folder_of_frames_by_prompts(model, video, tmp_path, prompts, both_ways, start):
    folder = track_video(model, video, tmp_path / 'out', prompts=prompts, both_ways=both_ways, layout='objects')
    assert sorted(path.name for path in (folder / '001').iterdir()) == [f'{t:05d}.png' for t in range(FRAMES)]
    assert len(list((folder / '002').iterdir())) == FRAMES - start
    assert cv2.imread(str(tmp_path / 'out/vis/00003.jpg')).shape == (*SIZE, 3)


def test_first_masks_as_palette_png(model, video, tmp_path):
    ids = np.zeros(SIZE, np.uint8)
    ids[5:25, 5:25], ids[10:35, 30:50] = 1, 7
    write_palette_png(ids, tmp_path / 'first.png')
    folder = track_video(model, video, tmp_path / 'out', first_masks=tmp_path / 'first.png', save_images=False,
                         max_frames=2)
    assert sorted(path.name for path in folder.iterdir()) == ['00000.png', '00001.png']
    assert (read_id_png(folder / '00000.png') == ids).mean() > 0.9 and not (tmp_path / 'out/vis').exists()


def test_masks_of_a_folder_join_on_their_first_frame(tmp_path):
    ids = np.zeros(SIZE, np.uint8)
    ids[:5, :5] = 1
    write_palette_png(ids, tmp_path / '00000.png')
    ids[20:, 20:] = 4
    write_palette_png(ids, tmp_path / '00002.png')
    found = read_first_masks(tmp_path, [f'{t:05d}' for t in range(FRAMES)])
    assert [(one.object_id, one.frame, int(one.mask.sum())) for one in found] == [(1, 0, 25), (4, 2, 800)]
    with pytest.raises(ValueError, match=r'00002\.png.*no frame of the video; frames are a to b'):
        read_first_masks(tmp_path, ['a', '00000', 'b'])


def test_a_video_file(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, SIZE[::-1])
    for frame in range(FRAMES):
        writer.write(np.full((*SIZE, 3), 60 * frame, np.uint8))
    writer.release()
    frames = open_frames(path)
    assert isinstance(frames, VideoFile) and len(frames) == FRAMES and frames.names[3] == '00003'
    assert [round(float(frames[t].mean()) / 60) for t in (0, 1, 3, 2, 0)] == [0, 1, 3, 2, 0]
    assert frames.fps == 10


def test_the_command_line(model, video, tmp_path, prompts, capsys):
    cfg = tmp_path / 'tiny.py'
    cfg.write_text(f"default_scope = 'maskforge'\nmodel = dict(type='SAM2', network={dict(TINY)!r})\n")
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), weights)
    arguments = [str(cfg), str(video), '--weights', str(weights), '--prompts', str(prompts), '--device', 'cpu']
    assert infer.main([*arguments, '--out-dir', str(tmp_path / 'out'), '--apply-postprocessing']) == 0
    assert str(tmp_path / 'out' / 'masks') in capsys.readouterr().out
    assert len(list((tmp_path / 'out/masks').iterdir())) == FRAMES
    assert track.main([*arguments[:-4], '--device', 'cpu']) == 2
    assert 'what is to be followed' in capsys.readouterr().err


@pytest.mark.parametrize('record, message', [
    ([], 'must be a list of prompts'), ([3], 'prompt 0 must be an object'),
    ([dict(object=1, frame=0, point=[1])], "prompt 0 has the key 'point'; keys are object"),
    ([dict(object=0, frame=0, box=[1, 2, 3, 4])], 'object must be a whole number from 1 on, got 0'),
    ([dict(object=1, box=[1, 2, 3, 4])], 'frame must be a whole number from 0 on, got None'),
    ([dict(object=1, frame=0)], 'needs points with labels, a box or both, or else a mask'),
    ([dict(object=1, frame=0, mask=dict(size=[2, 2]))], 'mask must be a COCO RLE'),
])
def test_bad_prompt_files_are_named(tmp_path, record, message):
    path = tmp_path / 'prompts.json'
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        read_video_prompts(path)


def test_bad_videos_are_named(model, tmp_path, video, prompts):
    with pytest.raises(FileNotFoundError, match='there is no video file or folder'):
        open_frames(tmp_path / 'nothing.mp4')
    (tmp_path / 'text.txt').write_text('no video')
    with pytest.raises(ValueError, match='is not a video file'):
        open_frames(tmp_path / 'text.txt')
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    with pytest.raises(ValueError, match='cannot be decoded as a video; extract its frames'):
        open_frames(tmp_path / 'broken.mp4')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='has no images'):
        FrameFolder(tmp_path / 'empty')
    (tmp_path / 'late.json').write_text(json.dumps([dict(object=1, frame=9, box=[1, 2, 3, 4])]))
    with pytest.raises(ValueError, match='object 1 is prompted on frame 9, but the video has 4 frames'):
        track_video(model, video, tmp_path / 'out', prompts=tmp_path / 'late.json')
    with pytest.raises(ValueError, match="layout='tiff'"):
        track_video(model, video, tmp_path / 'out', prompts=prompts, layout='tiff')
    with pytest.raises(ValueError, match='one of them'):
        track_video(model, video, tmp_path / 'out')
    with pytest.raises(ValueError, match='followed by a SAM2 model, got a'):
        track_video(Other(), video, tmp_path / 'out', prompts=prompts)
