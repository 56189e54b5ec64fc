import dataclasses

import pytest

from maskforge.models.sam2.prompt_settings import PromptSettings
from maskforge.models.sam2.read_settings import read_settings


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(num_init_cond_frames_for_train=3), 'prompts.num_frames_to_correct_for_train=2 must be at least '
                                             'prompts.num_init_cond_frames_for_train=3'),
    (dict(num_init_cond_frames_for_eval=2), 'prompts.num_frames_to_correct_for_eval=1 must be at least'),
    (dict(num_init_cond_frames_for_train=0), 'prompts.num_init_cond_frames_for_train=0 must be at least 1'),
    (dict(prob_to_use_box_input_for_train=1.5), 'prompts.prob_to_use_box_input_for_train=1.5 is a probability'),
    (dict(prob_to_sample_from_gt_for_train=-0.1), 'is a probability, in 0 .. 1'),
    (dict(num_correction_pt_per_frame=-1), 'prompts.num_correction_pt_per_frame=-1 is negative'),
    (dict(pt_sampling_for_eval='middle'), "pt_sampling_for_eval='middle' is not 'uniform' or 'center'"),
    (dict(num_correction_pts_per_frame=7), 'did you mean num_correction_pt_per_frame'),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        read_settings(PromptSettings, changes, where='prompts')


def test_defaults_are_the_official_fine_tuning():
    assert dataclasses.asdict(read_settings(PromptSettings, None, where='prompts')) == dict(
        prob_to_use_pt_input_for_train=0.5, prob_to_use_pt_input_for_eval=0.0, prob_to_use_box_input_for_train=0.5,
        prob_to_use_box_input_for_eval=0.0, prob_to_sample_from_gt_for_train=0.1, num_init_cond_frames_for_train=2,
        num_init_cond_frames_for_eval=1, rand_init_cond_frames_for_train=True, rand_init_cond_frames_for_eval=False,
        num_frames_to_correct_for_train=2, num_frames_to_correct_for_eval=1, rand_frames_to_correct_for_train=True,
        rand_frames_to_correct_for_eval=False, add_all_frames_to_correct_as_cond=True, num_correction_pt_per_frame=7,
        pt_sampling_for_eval='center', use_act_ckpt_iterative_pt_sampling=False,
        forward_backbone_per_frame_for_eval=True)


def test_phases():
    settings = PromptSettings(prob_to_use_pt_input_for_eval=0.25, num_frames_to_correct_for_eval=3)
    train, evaluation = settings.for_phase(True), settings.for_phase(False)
    assert (train.prob_to_use_pt_input, train.prob_to_sample_from_gt, train.sampling) == (0.5, 0.1, 'uniform')
    assert (train.num_init_cond_frames, train.num_frames_to_correct, train.rand_init_cond_frames) == (2, 2, True)
    assert (evaluation.prob_to_use_pt_input, evaluation.prob_to_sample_from_gt, evaluation.sampling) == (
        0.25, 0., 'center')
    assert (evaluation.num_init_cond_frames, evaluation.num_frames_to_correct) == (1, 3)
    assert not evaluation.rand_init_cond_frames and not evaluation.rand_frames_to_correct
