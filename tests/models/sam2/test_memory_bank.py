"""Which memories a frame looks at: tables worked out by hand from the definition."""
import pytest
import torch

from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network_settings import network_settings
from maskforge.models.sam2.structures import FrameMemory


def memory(frame):
    return FrameMemory(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1), torch.full((1, 8), float(frame)))


def bank_of(conditioning, others):
    return MemoryBank({frame: memory(frame) for frame in conditioning}, {frame: memory(frame) for frame in others})


def selected(bank, frame, *, num_frames=100, reverse=False, training=False, **settings):
    """(place, frame) of spatial memories and (distance, frame) of pointers."""
    chosen = bank.select(frame, num_frames=num_frames, settings=network_settings('2.1', **settings), reverse=reverse,
                         training=training)
    return tuple([(number, int(kept.pointers[0, 0])) for number, kept in part]
                 for part in (chosen.spatial, chosen.pointers))


SPATIAL = [
    # conditioning frames, others, frame, changes -> pairs of place and frame
    ([0], [1, 2], 3, {}, [(0, 0), (5, 1), (6, 2)]),
    ([0], range(1, 20), 20, {}, [(0, 0), (1, 14), (2, 15), (3, 16), (4, 17), (5, 18), (6, 19)]),
    ([0], range(1, 20), 20, dict(num_maskmem=3), [(0, 0), (1, 18), (2, 19)]),
    ([0], range(1, 20), 20, dict(num_maskmem=1), [(0, 0)]),
    ([0], range(1, 20), 20, dict(num_maskmem=4, memory_temporal_stride_for_eval=5),
     [(0, 0), (1, 10), (2, 15), (3, 19)]),
    ([0], range(1, 20), 20, dict(num_maskmem=4, memory_temporal_stride_for_eval=5, training=True),
     [(0, 0), (1, 17), (2, 18), (3, 19)]),
    # a conditioning frame that is not chosen counts as any other
    ([0, 4, 8, 9], [], 6, dict(max_cond_frames_in_attn=2), [(0, 4), (0, 8), (1, 0)]),
    ([0, 4, 8, 9], [], 6, dict(max_cond_frames_in_attn=3), [(0, 4), (0, 8), (0, 9), (1, 0)]),
    ([0, 4, 5, 8], [], 6, dict(max_cond_frames_in_attn=2), [(0, 5), (0, 8), (1, 0), (5, 4)]),
    ([9], [8, 7], 6, dict(reverse=True), [(0, 9), (5, 8), (6, 7)]),
    ([30], range(10, 30), 10, dict(reverse=True, num_maskmem=4, memory_temporal_stride_for_eval=5),
     [(0, 30), (1, 20), (2, 15), (3, 11)]),
]


@pytest.mark.parametrize('conditioning, others, frame, changes, wanted', SPATIAL)
def test_spatial_memories(conditioning, others, frame, changes, wanted):
    assert selected(bank_of(conditioning, others), frame, **changes)[0] == wanted


POINTERS = [
    ([0], [1, 2], 3, {}, [(3, 0), (1, 2), (2, 1)]),
    ([0, 5], [1, 2], 3, {}, [(3, 0), (1, 2), (2, 1)]),
    ([0, 5], [1, 2], 3, dict(training=True), [(3, 0), (-2, 5), (1, 2), (2, 1)]),
    ([0, 5], [1, 2], 3, dict(only_obj_ptrs_in_the_past_for_eval=False), [(3, 0), (-2, 5), (1, 2), (2, 1)]),
    ([0, 5], [1, 2], 3, dict(training=True, use_signed_tpos_enc_to_obj_ptrs=False), [(3, 0), (2, 5), (1, 2), (2, 1)]),
    ([0], range(1, 9), 9, dict(max_obj_ptrs_in_encoder=3), [(9, 0), (1, 8), (2, 7)]),
    ([0], range(1, 9), 9, dict(num_frames=3), [(9, 0)]),  # frames beyond the video's end do not count
    ([5], [4, 3], 2, dict(reverse=True), [(3, 5), (1, 3), (2, 4)]),
    ([0], [1], 2, dict(use_obj_ptrs_in_encoder=False, add_tpos_enc_to_obj_ptrs=False, proj_tpos_enc_in_obj_ptrs=False,
                       use_signed_tpos_enc_to_obj_ptrs=False, fixed_no_obj_ptr=False), []),
]


@pytest.mark.parametrize('conditioning, others, frame, changes, wanted', POINTERS)
def test_pointers(conditioning, others, frame, changes, wanted):
    assert selected(bank_of(conditioning, others), frame, **changes)[1] == wanted


@pytest.mark.parametrize('num_frames, limit, reach', [(8, 16, 7), (100, 16, 15), (100, 4, 3), (1, 16, 1)])
def test_distances_are_in_parts_of_the_reach(num_frames, limit, reach):
    settings = network_settings('2.1', max_obj_ptrs_in_encoder=limit)
    assert bank_of([0], []).select(1, num_frames=num_frames, settings=settings).reach == reach


@pytest.mark.parametrize('changes', [{}, dict(max_obj_ptrs_in_encoder=2), dict(memory_temporal_stride_for_eval=4),
                                     dict(max_obj_ptrs_in_encoder=1, num_maskmem=2)])
@pytest.mark.parametrize('reverse', [False, True])
def test_trimming_keeps_what_is_looked_at_and_bounds_the_rest(changes, reverse):
    settings = network_settings('2.1', **changes)
    whole, trimmed, longest = bank_of([50], []), bank_of([50], []), 0
    for frame in (range(49, 0, -1) if reverse else range(51, 100)):
        seen, wanted = (selected(bank, frame, reverse=reverse, **changes) for bank in (trimmed, whole))
        assert seen == wanted
        for bank in (whole, trimmed):
            bank.store(frame, memory(frame), conditioning=False)
        trimmed.trim(frame, settings=settings, reverse=reverse)
        longest = max(longest, len(trimmed.others))
    assert longest <= max(settings.max_obj_ptrs_in_encoder - 1, 6 * settings.memory_temporal_stride_for_eval)
    assert list(trimmed.conditioning) == [50]


def test_a_frame_is_of_one_kind():
    bank = bank_of([0], [1])
    bank.store(1, memory(1), conditioning=True)
    assert (list(bank.conditioning), list(bank.others)) == ([0, 1], [])
    bank.store(0, memory(0), conditioning=False)
    assert (list(bank.conditioning), list(bank.others)) == ([1], [0])
