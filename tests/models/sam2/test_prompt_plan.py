"""The plan is what the official order of draws gives, computed here from the bare generator."""
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_clips import ALWAYS, ONE_FRAME

from maskforge.models.sam2.prompt_plan import draw_noise, draw_plan
from maskforge.models.sam2.prompt_settings import PromptSettings

TRAIN = PromptSettings().for_phase(True)


def official(rng: np.random.Generator, frames: int, s) -> dict:
    """The facts' order of draws, spelled out."""
    prob_point, init, correct = s.prob_to_use_pt_input, s.num_init_cond_frames, s.num_frames_to_correct
    if frames == 1:
        prob_point, init, correct = 1., 1, 1
    points = rng.random() < prob_point
    if s.rand_init_cond_frames and init > 1:
        init = rng.integers(1, init + 1)
    if points and s.rand_frames_to_correct and correct > init:
        correct = rng.integers(init, correct + 1)
    first = [0]
    if init > 1:
        first += list(rng.choice(np.arange(1, frames), size=init - 1, replace=False))
    boxes = [rng.random() < s.prob_to_use_box_input for _ in first] if points else []
    corrected = []
    if points:
        corrected = list(first)
        if correct > init:
            left = np.setdiff1d(np.arange(frames), first)
            corrected += list(rng.choice(left, size=correct - init, replace=False))
    order = first + [t for t in range(frames) if t not in first]
    sources = {}
    for t in order:
        if t in corrected:
            sources[t] = [s.prob_to_sample_from_gt > 0 and rng.random() < s.prob_to_sample_from_gt
                          for _ in range(s.num_correction_pt_per_frame)]
    return dict(points=points, initial=first, boxes=boxes, corrected=corrected, order=order, sources=sources)


def assert_equal(plan, expected) -> None:
    assert plan.use_points == expected['points'] and list(plan.initial) == expected['initial']
    assert list(plan.boxes) == expected['boxes'] and list(plan.corrected) == expected['corrected']
    assert list(plan.order) == expected['order']
    assert {frame: list(chosen) for frame, chosen in plan.from_truth.items()} == expected['sources']


@pytest.mark.parametrize('changes', [
    {}, dict(num_init_cond_frames_for_train=3, num_frames_to_correct_for_train=4),
    dict(rand_init_cond_frames_for_train=False), dict(rand_frames_to_correct_for_train=False),
    dict(prob_to_sample_from_gt_for_train=0.), dict(num_correction_pt_per_frame=2), ONE_FRAME,
    *({**kind, **number} for kind in ALWAYS.values() for number in (ONE_FRAME, {})),
])
@pytest.mark.parametrize('frames', [4, 8])
def test_draws(changes, frames):
    settings = PromptSettings(**changes).for_phase(True)
    ours, theirs = np.random.default_rng(42), np.random.default_rng(42)
    for _ in range(40):
        assert_equal(draw_plan(ours, settings, frames), official(theirs, frames, settings))


def test_every_kind_of_plan_comes():
    generator = np.random.default_rng(42)
    seen = Counter()
    for _ in range(400):
        plan = draw_plan(generator, TRAIN, 8)
        assert plan.initial[0] == 0 and sorted(plan.order) == list(range(8))
        kind = 'mask' if not plan.use_points else 'box' if plan.boxes[0] else 'click'
        seen[kind, len(plan.initial), len(plan.corrected)] += 1
    assert set(seen) == {('mask', 1, 0), ('mask', 2, 0),
                         *((kind, *numbers) for kind in ('box', 'click') for numbers in ((1, 1), (1, 2), (2, 2)))}
    shares = {kind: sum(count for key, count in seen.items() if key[0] == kind) / 400 for kind in ('mask', 'click')}
    assert shares['mask'] == pytest.approx(0.5, abs=0.08) and shares['click'] == pytest.approx(0.25, abs=0.07)


def test_first_plan_by_hand():
    """default_rng(42) begins with 0.7740 (masks), then the integer 1 + ..., then nothing but the choice."""
    rng = np.random.default_rng(42)
    assert rng.random() == pytest.approx(0.7739560485559633)
    number = rng.integers(1, 3)
    expected = (0,) if number == 1 else (0, int(rng.choice(np.arange(1, 8), 1)[0]))
    plan = draw_plan(np.random.default_rng(42), TRAIN, 8)
    assert not plan.use_points and plan.initial == expected and plan.corrected == () and plan.boxes == ()


@pytest.mark.parametrize('box', [0., 1.])
def test_an_image_has_a_click_or_a_box(box):
    settings = replace(TRAIN, prob_to_use_pt_input=0., prob_to_use_box_input=box)
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(5):
        plan = draw_plan(ours, settings, 1)
        assert_equal(plan, official(theirs, 1, settings))
        assert plan.use_points and plan.boxes == (bool(box),) and plan.corrected == (0,)


def test_evaluation_is_a_mask_on_the_first_frame():
    plan = draw_plan(np.random.default_rng(0), PromptSettings().for_phase(False), 5)
    assert not plan.use_points and plan.initial == (0,) and plan.corrected == () and plan.from_truth == {}


@pytest.mark.parametrize(('changes', 'expected'), [
    (dict(prob_to_use_pt_input_for_eval=1.), (1, 1, (False,))),
    (dict(prob_to_use_pt_input_for_eval=1., prob_to_use_box_input_for_eval=1.), (1, 1, (True,))),
    (dict(prob_to_use_pt_input_for_eval=1., num_frames_to_correct_for_eval=3), (1, 3, (False,))),
    (dict(num_init_cond_frames_for_eval=2, num_frames_to_correct_for_eval=2), (2, 0, ())),
])
def test_evaluation_settings(changes, expected):
    plan = draw_plan(np.random.default_rng(0), PromptSettings(**changes).for_phase(False), 5)
    assert (len(plan.initial), len(plan.corrected), plan.boxes) == expected
    assert not any(any(chosen) for chosen in plan.from_truth.values())  # never from the truth


@pytest.mark.parametrize(('name', 'setting'), [('num_init_cond_frames_for_eval', 'rand_init_cond_frames_for_eval'),
                                               ('num_frames_to_correct_for_eval', 'rand_frames_to_correct_for_eval')])
def test_random_numbers_in_evaluation(name, setting):
    settings = PromptSettings(**{'prob_to_use_pt_input_for_eval': 1., 'num_frames_to_correct_for_eval': 3, name: 3,
                                 setting: True}).for_phase(False)
    generator = np.random.default_rng(0)
    plans = [draw_plan(generator, settings, 5) for _ in range(20)]
    assert {len(plan.initial if 'init' in name else plan.corrected) for plan in plans} == {1, 2, 3}


def test_a_clip_that_is_too_short():
    with pytest.raises(ValueError, match=r'A clip has 2 frames, and prompts.num_frames_to_correct_for_train .* for 3'):
        draw_plan(np.random.default_rng(0), PromptSettings(num_frames_to_correct_for_train=3).for_phase(True), 2)


def test_noise_is_torchs_and_comes_in_rows_of_objects():
    generator = np.random.default_rng(0)
    plan = next(plan for plan in iter(lambda: draw_plan(generator, TRAIN, 8), None) if len(plan.corrected) == 2)
    torch.manual_seed(3)
    noise = draw_noise(plan, 5, TRAIN, torch.device('cpu'))
    torch.manual_seed(3)
    assert torch.equal(noise.initial, torch.rand(len(plan.initial), 4, 5, dtype=torch.float64))
    assert torch.equal(noise.corrections, torch.rand(2, 7, 5, dtype=torch.float64))
    part = noise[slice(1, 3)]
    assert torch.equal(part.corrections, noise.corrections[:, :, 1:3]) and part.initial.shape[-1] == 2
