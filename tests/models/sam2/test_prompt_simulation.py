"""What the decoder is asked on every frame, observed from outside and computed here again.

Expected numbers of masks per pass: spec of the official implementation, one pass per correcting click.
"""
from itertools import islice

import numpy as np
import pytest
import torch
from tiny_clips import ALWAYS, ONE_FRAME, losses_of, tiny_batch, tiny_sam2

from maskforge.models.sam2.memory_bank import MemoryBank

TWO_FRAMES = dict(rand_init_cond_frames_for_train=False, rand_frames_to_correct_for_train=False)
LATER = dict(num_init_cond_frames_for_train=1, rand_frames_to_correct_for_train=False)


class Spy:
    """Notes what goes through the network."""

    def __init__(self, model, monkeypatch):
        self.passes, self.memories, self.encoded = [], [], []
        network = model.network
        heads, store, encode = network.sam_heads, MemoryBank.store, network.encode_images

        def sam_heads(features, prompts, *, multimask):
            output = heads(features, prompts, multimask=multimask)
            self.passes.append((features.s16, prompts, output))
            return output

        def noted(bank, frame, memory, *, conditioning):
            self.memories.append((frame, conditioning))
            store(bank, frame, memory, conditioning=conditioning)

        def encode_images(images):
            self.encoded.append(len(images))
            return encode(images)
        monkeypatch.setattr(network, 'sam_heads', sam_heads)
        monkeypatch.setattr(network, 'encode_images', encode_images)
        monkeypatch.setattr(MemoryBank, 'store', noted)

    @property
    def mask_counts(self):
        return [output.ious.shape[1] for _, _, output in self.passes]


def observe(monkeypatch, *, frames=3, objects=(2, 1), training=True, **prompts):
    model = tiny_sam2(prompts=prompts).train(training)
    spy = Spy(model, monkeypatch)
    batch = tiny_batch(frames, objects)
    found = losses_of(model, batch, seed=5)
    return spy, torch.cat([sample.gt_masks for sample in batch['data_samples']], 1), found


@pytest.mark.parametrize(('prompts', 'counts'), [
    # a mask prompt asks the decoder once, for its pointer
    pytest.param({**ALWAYS['masks'], **ONE_FRAME}, [1, 3, 3], id='mask'),
    pytest.param({**ALWAYS['masks'], **TWO_FRAMES}, [1, 1, 3], id='two masks'),
    pytest.param({**ALWAYS['clicks'], **ONE_FRAME}, [3, *[1] * 7, 3, 3], id='click'),
    pytest.param({**ALWAYS['boxes'], **ONE_FRAME}, [1, *[1] * 7, 3, 3], id='box'),
    pytest.param({**ALWAYS['clicks'], **TWO_FRAMES}, [3, *[1] * 7, 3, *[1] * 7, 3], id='two clicks'),
    pytest.param({**ALWAYS['boxes'], **TWO_FRAMES}, [*[1] * 16, 3], id='two boxes'),
    pytest.param({**ALWAYS['clicks'], **ONE_FRAME, 'num_correction_pt_per_frame': 2}, [3, 1, 1, 3, 3], id='2 clicks'),
    pytest.param({**ALWAYS['clicks'], **ONE_FRAME, 'num_correction_pt_per_frame': 0}, [3, 3, 3], id='no correction'),
])
def test_masks_per_pass(monkeypatch, prompts, counts):
    spy, _, _ = observe(monkeypatch, **prompts)
    assert spy.mask_counts == counts


def test_a_later_corrected_frame_in_its_place(monkeypatch):
    """Frame 1 of three: its passes come before those of frame 2."""
    rng = np.random.default_rng(42)
    rng.random(), rng.random()
    middle = int(rng.choice(np.array([1, 2, 3]), 1)[0])
    spy, _, _ = observe(monkeypatch, frames=4, **ALWAYS['clicks'], **LATER)
    expected = [3, *[1] * 7]
    for frame in (1, 2, 3):
        expected += [3, 3, *[1] * 6] if frame == middle else [3]
    assert spy.mask_counts == expected


@pytest.mark.parametrize('kind', ['clicks', 'boxes'])
@pytest.mark.parametrize('number', [ONE_FRAME, TWO_FRAMES], ids=['one frame', 'two frames'])
def test_prompts_of_every_pass(monkeypatch, kind, number):
    """Each click is the one that the errors of the pass before and the drawn numbers give."""
    spy, truth, _ = observe(monkeypatch, **ALWAYS[kind], **number, prob_to_sample_from_gt_for_train=0.5)
    rng = np.random.default_rng(42)
    rng.random()  # points or masks
    initial = [0] if number is ONE_FRAME else [0, int(rng.choice(np.array([1, 2]), 1)[0])]
    [rng.random() for _ in initial]  # box or click
    order = initial + [frame for frame in range(3) if frame not in initial]
    from_truth = {frame: [rng.random() < 0.5 for _ in range(7)] for frame in order if frame in initial}
    torch.manual_seed(5)
    first, clicks = (torch.rand(len(initial), many, 3, dtype=torch.float64) for many in (4, 7))
    passes = iter(spy.passes)
    for place, frame in enumerate(initial):
        steps = list(islice(passes, 8))
        for row in range(3):
            assert_initial(kind, steps[0][1], row, truth[frame, row].numpy(), first[place, :, row].numpy())
        for step, (s16, prompts, _) in enumerate(steps[1:]):
            before = steps[step][2]
            assert torch.equal(prompts.masks, before.masks_low) and torch.equal(s16, steps[0][0])
            assert prompts.masks.requires_grad  # logits are not cut off
            assert torch.equal(prompts.points[:, :-1], steps[step][1].points)
            for row in range(3):
                goal = truth[frame, row].numpy()
                mask = np.zeros_like(goal) if from_truth[frame][step] else (before.masks_high[row, 0] > 0).numpy()
                assert_click(prompts, row, goal, mask, clicks[place, step, row].item())


def assert_click(prompts, row, goal, mask, noise):
    places = np.argwhere(goal != mask)
    if not len(places):
        places = np.argwhere(~goal)
    y, x = places[int(noise * len(places))]
    assert prompts.points[row, -1].tolist() == [x, y] and prompts.labels[row, -1].item() == int(goal[y, x])


def assert_initial(kind, prompts, row, goal, noise):
    if kind == 'clicks':
        return assert_click(prompts, row, goal, np.zeros_like(goal), noise[0])
    y, x = np.nonzero(goal)
    box = np.array([x.min(), y.min(), x.max(), y.max()], dtype=np.float64)
    reach = np.minimum(0.1 * np.tile(box[2:] - box[:2], 2), 20)
    box = np.clip(box + (2 * noise - 1) * reach, 0, 63)
    assert prompts.points[row].flatten().tolist() == pytest.approx(box.tolist(), abs=1e-4)
    assert prompts.labels[row].tolist() == [2, 3]


@pytest.mark.parametrize(('prompts', 'conditioning'), [
    (dict(**ALWAYS['clicks'], **LATER), [True, False, True]),
    (dict(**ALWAYS['clicks'], **LATER, add_all_frames_to_correct_as_cond=False), [True, False, False]),
    (dict(**ALWAYS['masks'], **TWO_FRAMES), [True, True, False]),
])
def test_memories(monkeypatch, prompts, conditioning):
    """Of every frame but the last, which nobody would look at; the corrected frame of four is the third."""
    spy, _, _ = observe(monkeypatch, frames=4, **prompts)
    assert len(spy.memories) == 3 and [kind for _, kind in spy.memories] == conditioning
    assert spy.memories[0][0] == 0


def test_an_image_has_no_memory(monkeypatch):
    spy, _, found = observe(monkeypatch, frames=1, **ALWAYS['masks'])
    assert spy.memories == [] and spy.mask_counts in ([3, *[1] * 7], [1] * 8)
    assert found['loss_mask'].requires_grad


def test_a_mask_prompt_costs_next_to_nothing(monkeypatch):
    _, _, found = observe(monkeypatch, frames=2, **ALWAYS['masks'], **TWO_FRAMES)
    assert sum(found[f'unweighted_{term}'] for term in ('mask', 'dice', 'iou', 'class')) < 2e-3


@pytest.mark.parametrize(('setting', 'encoded'), [(True, [2, 2, 2]), (False, [6])])
def test_frames_are_encoded_in_their_turn(monkeypatch, setting, encoded):
    found = []
    for value in (setting, not setting):
        with monkeypatch.context() as patch:
            spy, _, losses = observe(patch, training=False, forward_backbone_per_frame_for_eval=value)
            found.append((spy.encoded, losses['loss_mask'].item()))
    assert found[0][0] == encoded and found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@pytest.mark.parametrize('sampling', ['center', 'uniform'])
def test_clicks_of_evaluation(monkeypatch, sampling):
    asked = []
    from maskforge.models.sam2 import prompt_simulation
    sample = prompt_simulation.sample_click
    monkeypatch.setattr(prompt_simulation, 'sample_click',
                        lambda *given, sampling: asked.append(sampling) or sample(*given, sampling=sampling))
    observe(monkeypatch, training=False, prob_to_use_pt_input_for_eval=1., pt_sampling_for_eval=sampling)
    assert asked == [sampling] * 8
    asked.clear()
    observe(monkeypatch, **ALWAYS['clicks'], **ONE_FRAME, pt_sampling_for_eval=sampling)
    assert asked == ['uniform'] * 8


def test_an_absent_object_on_a_later_initial_frame(monkeypatch):
    model = tiny_sam2(prompts=dict(**ALWAYS['boxes'], **TWO_FRAMES, num_correction_pt_per_frame=0))
    spy, batch = Spy(model, monkeypatch), tiny_batch(2, (2,))
    batch['data_samples'][0].gt_masks[1, 0] = False
    losses = losses_of(model, batch)
    prompts = spy.passes[1][1]
    assert prompts.labels.tolist() == [[0, -1], [2, 3]]
    assert prompts.points.min() >= 0 and prompts.points.max() < 64
    assert all(value.isfinite() for value in losses.values())
