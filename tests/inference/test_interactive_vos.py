import json

import cv2
import numpy as np
import pytest
import torch
from tiny_sam2 import TINY

from maskforge.cli import eval_clicks
from maskforge.formats.palette_png import write_palette_png
from maskforge.inference import interactive_vos
from maskforge.inference.interactive_vos import click_through_video, evaluate_interactive
from maskforge.models.sam2.center_click import center_click
from maskforge.registry import MODELS
from maskforge.structures import ClipSample, VideoFrames, VideoMasks

SIZE, FRAMES = (40, 60), 3


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return MODELS.build(dict(type='SAM2', network=dict(TINY, image_size=32))).eval()


def frame(place):
    return torch.from_numpy(np.random.default_rng(place).integers(0, 256, (3, 32, 32), np.uint8))


def masks(place):
    mask = np.zeros(SIZE, bool)
    mask[10:30, 10 + place:30 + place] = True
    return {1: mask} | ({2: mask[::-1, ::-1]} if place else {})


def video():
    sample = ClipSample(metainfo=dict(video_name='clip', ori_shape=SIZE))
    sample.gt_frames = VideoMasks(masks, list(range(FRAMES)))
    return dict(inputs=VideoFrames([str(t) for t in range(FRAMES)], frame, ori_shape=SIZE), data_samples=sample)


def test_every_round_clicks_the_worst_frame_of_every_object(model, monkeypatch):
    clicked = []
    monkeypatch.setattr(interactive_vos, 'center_click', lambda truth, known: clicked.append(known is None)
                        or center_click(truth, known))
    scores = click_through_video(model, video(), rounds=2, clicks_per_frame=2)
    assert [frames[0] for frames in scores.frames.values()] == [0, 1]
    assert all(len(frames) == 2 for frames in scores.frames.values()) and len(clicked) == 2 * 2 * 2
    assert clicked == [True, False] * 2 + [False] * 4  # only an object's first click knows no mask
    assert len(scores.j) == len(scores.f) == 2 and all(0 <= value <= 1 for value in (*scores.j, *scores.f))
    assert scores.j_and_f[0] == pytest.approx((scores.j[0] + scores.f[0]) / 2)


def test_a_model_that_finds_what_is_clicked_scores_full_marks(model, monkeypatch):
    def exact(session, number, frame, truth, clicks):
        for place in range(FRAMES):
            session.add_mask(place, number, masks(place).get(number, np.zeros(SIZE, bool)))
    monkeypatch.setattr(interactive_vos, '_click', exact)
    found = evaluate_interactive(model, [video(), video()], rounds=1)
    assert list(found) == ['J&F_1', 'J_1', 'F_1'] and found['J_1'] > 85


@pytest.mark.parametrize('settings, message', [(dict(rounds=0), 'rounds=0'),
                                               (dict(clicks_per_frame=0), 'clicks_per_frame=0')])
def test_bad_settings_are_named(model, settings, message):
    with pytest.raises(ValueError, match=message):
        click_through_video(model, video(), **settings)


def test_no_video_and_no_object_are_named(model):
    with pytest.raises(ValueError, match='no video'):
        evaluate_interactive(model, [])
    empty = video()
    empty['data_samples'].gt_frames = VideoMasks(lambda place: {}, [0])
    with pytest.raises(ValueError, match="video 'clip': its annotations show no object"):
        click_through_video(model, empty)


def test_the_command_clicks_through_a_data_set(model, tmp_path, capsys):
    for place in range(2):
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder / 'clip').mkdir(parents=True, exist_ok=True)
        picture = frame(place).permute(1, 2, 0).numpy()
        cv2.imwrite(str(tmp_path / f'JPEGImages/clip/{place:05d}.jpg'), cv2.resize(picture, SIZE[::-1]))
        write_palette_png(masks(place)[1].astype(np.uint8), tmp_path / f'Annotations/clip/{place:05d}.png')
    source = dict(type='PNGRawDataset', img_folder=f'{tmp_path}/JPEGImages', gt_folder=f'{tmp_path}/Annotations')
    dataset = dict(type='WholeVideoDataset', video_dataset=source, image_size=32, test_mode=True)
    cfg = tmp_path / 'tiny.py'
    cfg.write_text(f"default_scope = 'maskforge'\nmodel = dict(type='SAM2', network={dict(TINY, image_size=32)!r})\n"
                   f'test_dataloader = dict(dataset={dataset!r})\n')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    assert eval_clicks.main([str(cfg), '--weights', str(tmp_path / 'weights.pth'), '--rounds', '1', '--device', 'cpu',
                             '--out', str(tmp_path / 'scores.json')]) == 0
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert list(scores) == ['J&F_1', 'J_1', 'F_1'] and f"{scores['J_1']:.2f}" in capsys.readouterr().out
