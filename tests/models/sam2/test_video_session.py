import itertools

import numpy as np
import pytest
import torch
from tiny_sam2 import tiny_sam2_network

from maskforge.models.sam2.frame_result import suppress_overlaps
from maskforge.models.sam2.video_predictor import VideoPredictor

SIZE = (48, 80)
POINT = dict(point_coords=[[40, 24]], point_labels=[1])
BOX = dict(box=[10, 8, 50, 40])


def frames(count=4, seed=0):
    return [np.random.default_rng((seed, index)).integers(0, 256, (*SIZE, 3), np.uint8) for index in range(count)]


def disk(x, y, radius=12):
    rows, columns = np.mgrid[:SIZE[0], :SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius ** 2


@pytest.fixture(scope='module')
def network():
    network = tiny_sam2_network(image_size=32, num_maskmem=3, max_obj_ptrs_in_encoder=4).eval()
    with torch.no_grad():  # objects are seen
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(5)
    return network


def open_video(network, video=None, **settings):
    return VideoPredictor(network, **settings).open(frames() if video is None else video)


def run(session, **kwargs):
    return {result.frame: result for result in session.propagate(**kwargs)}


def same(first, second, *, tolerance=1e-4):
    assert set(first) == set(second)
    for frame in first:
        torch.testing.assert_close(first[frame].logits, second[frame].logits, atol=tolerance, rtol=1e-4)


def test_results_come_frame_by_frame_at_the_size_of_the_video(network):
    session = open_video(network)
    first = session.add_points_or_box(0, 'cat', **POINT)
    assert first.frame == 0 and first.object_ids == ('cat',) and first.logits.shape == (1, *SIZE)
    session.add_mask(0, 'dog', disk(20, 20))
    found = list(session.propagate())
    assert [result.frame for result in found] == [0, 1, 2, 3]
    assert all(result.object_ids == ('cat', 'dog') and result.masks.shape == (2, *SIZE) for result in found)
    torch.testing.assert_close(found[0].logits[:1], first.logits)
    assert found[2].instance_masks().to_bitmaps().tolist() == found[2].masks.tolist()
    assert found[1].scores.min() > 0 and found[1].scores.max() < 1


def test_a_mask_is_taken_as_it_is(network):
    result = open_video(network).add_mask(0, 1, disk(30, 20))
    wrong = (result.masks[0].numpy() != disk(30, 20)).mean()
    assert wrong < 0.03 and result.scores.item() == pytest.approx(1, abs=1e-3)


def prompted(session, wanted):
    for number, add in {1: lambda: session.add_points_or_box(0, 1, **POINT),
                        2: lambda: session.add_points_or_box(0, 2, **BOX),
                        3: lambda: session.add_mask(0, 3, disk(20, 20)),
                        4: lambda: session.add_mask(2, 4, disk(50, 30))}.items():
        if number in wanted:
            add()
    return session


@pytest.fixture(scope='module')
def alone(network):
    return {number: run(prompted(open_video(network), (number,))) for number in (1, 2, 3, 4)}


@pytest.mark.parametrize('batch', [2, 16])
def test_many_objects_are_as_each_alone(network, alone, batch):
    together = run(prompted(open_video(network, objects_per_batch=batch), (1, 2, 3, 4)))
    assert [result.object_ids for result in together.values()] == [(1, 2, 3)] * 2 + [(1, 2, 3, 4)] * 2
    for place, number in enumerate((1, 2, 3, 4)):
        for frame, result in alone[number].items():
            torch.testing.assert_close(together[frame].logits[place], result.logits[0], atol=1e-4, rtol=1e-4)


def test_an_object_that_is_added_in_the_loop_is_followed_from_there_on(network):
    session = open_video(network)
    session.add_points_or_box(0, 1, **POINT)
    found = {}
    for result in session.propagate():
        found[result.frame] = result
        if result.frame == 1:
            session.add_mask(1, 2, disk(50, 30))
    assert [result.object_ids for result in found.values()] == [(1,), (1,), (1, 2), (1, 2)]
    alone = open_video(network)
    alone.add_mask(1, 2, disk(50, 30))
    for frame, result in run(alone).items():
        if frame > 1:
            torch.testing.assert_close(found[frame].logits[1], result.logits[0], atol=1e-4, rtol=1e-4)


def test_a_stream_gives_what_a_sequence_gives(network):
    video = frames()
    session = open_video(network, iter(video))
    session.add_points_or_box(0, 1, **POINT)
    # only how far pointers may lie back is told by the length, and in so short a video nobody knows it
    long = open_video(network, video)
    long.source.length, long.source._frames = None, session.source._frames.__class__(iter(video))
    long.add_points_or_box(0, 1, **POINT)
    streamed = run(session)
    assert list(streamed) == [0, 1, 2, 3]
    same(streamed, run(long))
    with pytest.raises(IndexError, match='stands at frame 3, frame 1 is gone'):
        session.track(1)
    with pytest.raises(IndexError, match=r'frame 4 does not exist|stands at frame 3'):
        session.track(4)


def test_memory_is_bounded_on_a_long_video(network):
    def endless():
        for index in itertools.count():
            yield frames(3)[index % 3]

    session = open_video(network, endless())
    session.add_points_or_box(0, 1, **POINT)
    session.add_mask(0, 2, disk(50, 30))
    stored = [session.stored_frames() for _ in session.propagate(max_frames=12)]
    most = network.settings.max_obj_ptrs_in_encoder
    assert max(stored) == stored[-1] == stored[6] <= 2 * most
    assert all(len(one.masks) <= 2 and len(one.pending) == 0 for one in session._objects.values())
    assert all(len(one.tracked._spans) == 1 for one in session._objects.values())


def test_trimming_changes_nothing_and_history_keeps_more(network):
    video = frames(7)
    found = {}
    for history in (0, 2, None):
        session = open_video(network, video, history=history)
        session.add_points_or_box(0, 1, **POINT)
        found[history] = run(session)
        one = session._objects[1]
        assert len(one.bank.others) == {0: 3, 2: 5, None: 6}[history]
        assert len(one.masks) == {0: 2, 2: 4, None: 7}[history]
    same(found[0], found[None])
    same(found[2], found[None])


def test_only_one_frame_is_encoded_at_a_time_and_once(network, monkeypatch):
    calls = []
    encode = network.encode_images
    monkeypatch.setattr(network, 'encode_images', lambda images: (calls.append(len(images)), encode(images))[1])
    session = open_video(network)
    session.add_points_or_box(0, 1, **POINT)
    session.add_points_or_box(0, 2, **BOX)
    run(session)
    assert calls == [1] * 4


def test_backwards_in_time(network):
    video = frames()
    session = open_video(network, video)
    session.add_mask(3, 1, disk(30, 20))
    session.add_mask(1, 2, disk(50, 30))
    found = run(session, reverse=True)
    assert list(found) == [3, 2, 1, 0]
    assert [result.object_ids for result in found.values()] == [(1,), (1,), (1, 2), (1, 2)]
    turned = open_video(network, video[::-1])
    turned.add_mask(0, 1, disk(30, 20))
    forward = run(turned)
    for frame in (3, 2, 1, 0):
        torch.testing.assert_close(found[frame].logits[0], forward[3 - frame].logits[0], atol=1e-4, rtol=1e-4)


def test_frames_before_the_first_prompt_are_for_who_asks(network):
    session = open_video(network)
    session.add_mask(2, 1, disk(30, 20))
    assert [len(result) for result in session.propagate(0)] == [0, 0, 1, 1]
    other = open_video(network)
    other.add_mask(2, 1, disk(30, 20))
    assert [len(result) for result in other.propagate(0, from_first_prompt=False)] == [1] * 4
    assert [result.frame for result in other.propagate(1, max_frames=2)] == [1, 2]


def test_more_points_on_a_frame_build_on_the_mask(network):
    session = open_video(network)
    first = session.add_points_or_box(0, 1, **POINT)
    second = session.add_points_or_box(0, 1, point_coords=[[2, 2]], point_labels=[0], clear_old_points=False)
    assert session._objects[1].prompts[0].labels.tolist() == [[1, 0]]
    assert not torch.equal(first.logits, second.logits)
    session.add_points_or_box(0, 1, **BOX)
    assert session._objects[1].prompts[0].labels.tolist() == [[2, 3]]
    session.add_mask(0, 1, disk(30, 20))
    assert 0 not in session._objects[1].prompts
    assert list(session._objects[1].pending) == [0]


@pytest.mark.parametrize('as_conditioning', [True, False])
def test_a_correction_changes_the_frames_behind_it(network, as_conditioning):
    session = open_video(network, history=None, corrected_as_conditioning=as_conditioning)
    session.add_points_or_box(0, 1, **POINT)
    before = run(session)
    corrected = session.add_points_or_box(2, 1, point_coords=[[70, 5]], point_labels=[1])
    assert not torch.equal(corrected.logits, before[2].logits)
    after = run(session, start_frame=3)
    assert not torch.allclose(after[3].logits, before[3].logits)
    assert (2 in session._objects[1].bank.conditioning) == as_conditioning
    # a click on a frame that was prompted and tracked sees the memory: it is a correction as well
    session.track(0)
    again = session.add_points_or_box(0, 1, **POINT)
    fresh = open_video(network).add_points_or_box(0, 1, **POINT)
    assert not torch.equal(again.logits, fresh.logits)


@pytest.mark.parametrize(('clear', 'others'), [(False, [1, 2, 3, 4, 5, 7, 8, 9]), (True, [1, 2, 7, 8, 9])])
def test_memory_around_a_correction_can_be_cleared(network, clear, others):
    session = open_video(network, frames(10), history=None, clear_non_cond_mem_around_input=clear)
    session.add_points_or_box(0, 1, **POINT)
    run(session)
    session.add_mask(6, 1, disk(30, 20))
    run(session, start_frame=6)
    assert sorted(session._objects[1].bank.others) == others


def test_objects_can_be_removed_and_all_forgotten(network):
    def both(session):
        session.add_points_or_box(0, 1, **POINT)
        session.add_mask(0, 2, disk(30, 20))
        return session

    session = both(open_video(network))
    whole = run(both(open_video(network)))
    assert len(list(session.propagate(max_frames=2))) == 2
    session.remove_object(1)
    assert session.object_ids == (2,)
    for result in session.propagate(2):
        torch.testing.assert_close(result.logits[0], whole[result.frame].logits[1], atol=1e-4, rtol=1e-4)
    with pytest.raises(KeyError, match=r'no object 1; the objects are \[2\]'):
        session.remove_object(1)
    session.reset()
    with pytest.raises(ValueError, match='nothing to track: add an object'):
        session.track(0)
    both(session)
    same(run(session), whole)


def test_pixels_belong_to_one_object_where_asked(network):
    session = open_video(network, non_overlap_masks=True)
    session.add_mask(0, 1, disk(30, 20))
    session.add_mask(0, 2, disk(40, 20))
    assert all(result.masks.sum(0).max() <= 1 for result in session.propagate())
    logits = torch.tensor([[[3., -20., 1.]], [[2., -5., 4.]]])
    assert suppress_overlaps(logits).tolist() == [[[3., -20., -10.]], [[-10., -5., 4.]]]


def test_thresholds_act(network):
    def tracked(**settings):
        session = open_video(network, **settings)
        session.add_points_or_box(0, 1, **POINT)
        return run(session)[1]

    plain = tracked()
    middle = float(plain.logits.median())
    assert torch.equal(tracked(mask_threshold=middle).masks, plain.logits > middle)
    assert not tracked(score_threshold=1.).masks.any()


def test_holes_are_filled():
    network = tiny_sam2_network().eval()
    mask = disk(40, 24, 20)
    mask[20:28, 36:44] = False
    session = open_video(network, fill_hole_area=100)
    assert session.add_mask(0, 1, mask).masks[0, 24, 40]
    assert not open_video(network).add_mask(0, 1, mask).masks[0, 24, 40]


def test_memory_can_be_kept_in_another_type(network):
    session = open_video(network, memory_dtype='bfloat16', memory_device='cpu')
    session.add_points_or_box(0, 1, **POINT)
    found = run(session)
    kept = [*session._objects[1].bank.conditioning.values(), *session._objects[1].bank.others.values()]
    assert {memory.spatial.dtype for memory in kept} == {torch.bfloat16}
    plain = open_video(network)
    plain.add_points_or_box(0, 1, **POINT)
    exact = run(plain)
    difference = max(float((found[t].logits - exact[t].logits).abs().max()) for t in exact)
    assert 0 < difference < 0.1 * float(exact[3].logits.abs().max())


def test_settings_of_the_network_hold_for_the_session_alone(network):
    def second(**settings):
        session = open_video(network, **settings)
        session.add_points_or_box(0, 1, **BOX)
        first = session.track(0).logits
        return first, session.track(1).logits

    plain = second()
    soft = second(binarize_prompted=True)
    assert torch.equal(soft[0], plain[0]) and not torch.equal(soft[1], plain[1])
    dynamic = second(dynamic_multimask=True, stability_delta=100., stability_threshold=.5)
    assert not torch.equal(dynamic[0], plain[0])
    assert not network.settings.binarize_mask_from_pts_for_mem_enc


@pytest.mark.parametrize('settings, message', [
    (dict(objects_per_batch=0), 'objects_per_batch=0'), (dict(history=-1), 'history=-1'),
    (dict(score_threshold=2), 'score_threshold=2 is a probability'),
    (dict(memory_dtype='int8'), "memory_dtype='int8' is not one of 'bfloat16'"),
])
def test_bad_settings_are_named(network, settings, message):
    with pytest.raises(ValueError, match=message):
        open_video(network, **settings)


def test_bad_prompts_and_videos_are_named(network):
    with pytest.raises(ValueError, match='the video has no frames'):
        open_video(network, [])
    session = open_video(network)
    with pytest.raises(ValueError, match=r'mask has the size \(10, 10\), the frames \(h, w\) = \(48, 80\)'):
        session.add_mask(0, 1, np.zeros((10, 10), bool))
    with pytest.raises(IndexError, match='frame 9 of a video of 4 frames'):
        session.add_points_or_box(9, 1, **POINT)
    with pytest.raises(ValueError, match='of one object'):
        session.add_points_or_box(0, 1, box=[[1, 2, 3, 4]])
    with pytest.raises(ValueError, match='clear_old_points=True'):
        session.add_points_or_box(0, 1, **BOX, clear_old_points=False)
    assert session.object_ids == ()
    with pytest.raises(ValueError, match='nothing to track'):
        next(session.propagate())
    mixed = open_video(network, [*frames(1), np.zeros((20, 20, 3), np.uint8)])
    mixed.add_points_or_box(0, 1, **POINT)
    with pytest.raises(ValueError, match=r'frame 1 has the size \(h, w\) = \(20, 20\), the first one \(48, 80\)'):
        run(mixed)


@pytest.mark.parametrize('first, second, told', [(1, '1', "object id '1' is of type str, but 1 of type int"),
                                                 ('cat', 2, "object id 2 is of type int, but 'cat' of type str")])
def test_ids_of_a_video_are_of_one_type(network, first, second, told):
    session = open_video(network)
    session.add_points_or_box(0, first, **POINT)
    with pytest.raises(ValueError, match=told):
        session.add_points_or_box(1, second, **POINT)
    with pytest.raises(ValueError, match=told):
        session.add_mask(1, second, disk(20, 20))
    assert session.object_ids == (first,)


def test_numpy_numbers_are_ids_too(network):
    session = open_video(network)
    session.add_points_or_box(0, 1, **POINT)
    session.add_mask(1, np.int64(1), disk(20, 20))
    session.add_mask(1, np.int64(2), disk(20, 20))
    assert session.object_ids == (1, 2)
