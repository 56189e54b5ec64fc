"""Every option of the official training and where its effect is observed.

A row gives the official names and the tests, as ``file::function``; that they exist is what is tested here.
"""
import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
SAM2, VIDEO, RUNS = 'models/sam2', 'datasets/video', 'engine/runs'
CLIPS, HOOK = 'datasets/transforms/test_clip_transforms.py', 'engine/hooks/test_checkpoint_hook.py'
SOURCES, MIXED = f'{VIDEO}/test_sources.py', 'datasets/test_mixed_source_batch_sampler.py'
PATTERNS = 'engine/optim/test_pattern_optim_wrapper_constructor.py'

OPTIONS = {
    'resolution, train_batch_size, num_train_workers, num_frames, max_num_objects, base_lr, vision_lr, '
    'phases_per_epoch, num_epochs': [f'{SAM2}/test_finetuning_recipes.py::test_knob'],
    'img_folder, gt_folder': [f'{SOURCES}::test_palette_png', f'{SOURCES}::test_folders_that_are_not_there'],
    'file_list_txt, excluded_videos_list_txt': [f'{SOURCES}::test_lists_of_names'],
    'multiplier': [f'{VIDEO}/test_clips.py::test_multiplier'],
    'a source each for images and videos: batch_sizes, phases_per_epoch, probabilities': [
        f'{MIXED}::test_phases_cover_each_record_once', f'{MIXED}::test_probabilities',
        f'{MIXED}::test_a_loader_of_videos_and_pictures', f'{MIXED}::test_two_processes'],
    'PNGRawDataset': [f'{SOURCES}::test_palette_png', f'{SOURCES}::test_one_folder_an_object',
                      f'{SOURCES}::test_single_objects', f'{SOURCES}::test_frames_that_are_taken'],
    'SA1BRawDataset': [f'{SOURCES}::test_sa1b', f'{SOURCES}::test_sa1b_quality'],
    'JSONRawDataset, ann_every': [f'{SOURCES}::test_sav', f'{SOURCES}::test_sav_rates'],
    'RandomUniformSampler': [f'{VIDEO}/test_clips.py::test_windows_are_drawn_alike',
                             f'{VIDEO}/test_clips.py::test_objects_are_drawn',
                             f'{VIDEO}/test_clips.py::test_reversal'],
    'EvalSampler': [f'{VIDEO}/test_clips.py::test_eval_sampler'],
    'shuffle': [f'{MIXED}::test_orders_differ_between_epochs_and_seeds'],
    'drop_last': [f'{MIXED}::test_sizes_that_do_not_divide'],
    'num_workers': [f'{MIXED}::test_a_loader_of_videos_and_pictures'],
    'pin_memory': ['engine/test_keyed_sampler.py::test_pin_memory'],
    'collate_fn(dict_key)': [f'{SAM2}/test_clip_batch.py::test_objects_of_all_clips_in_a_row'],
    'horizontal flip': [f'{CLIPS}::test_flip'],
    'affine': [f'{CLIPS}::test_affine_is_torchvisions', f'{CLIPS}::test_affine_and_resize_are_one_warp'],
    'resize': [f'{CLIPS}::test_resize_is_torchvisions', f'{CLIPS}::test_sizes'],
    'colour jitter, greyscale': [f'{CLIPS}::test_colours_are_torchvisions', f'{CLIPS}::test_grayscale'],
    'normalise': [f'{SAM2}/test_clip_batch.py::test_normalisation'],
    'drawn per clip or per frame': [f'{CLIPS}::test_one_draw_a_clip_or_one_a_frame'],
    'mode': ['cli/test_train_flags.py::test_train_flags'],
    'val_epoch_freq': [f'{RUNS}/test_logs.py::test_validation_every_so_many_epochs'],
    'max_epochs': [f'{SAM2}/test_finetuning_recipes.py::test_knob'],
    'seed_value': [f'{SAM2}/test_model.py::test_resume_draws_the_same_prompts'],
    'image encoder T, S, B+, L': [f'{SAM2}/test_weights.py::test_sizes_and_names_of_the_release'],
    'memory attention, memory encoder, prompt encoder, mask decoder': [
        f'{SAM2}/test_network.py::test_every_setting_acts',
        f'{SAM2}/test_network.py::test_no_setting_is_left_out_of_the_table'],
    'prompt simulation': [f'{SAM2}/test_prompt_plan.py::test_draws',
                          f'{SAM2}/test_prompt_plan.py::test_first_plan_by_hand',
                          f'{SAM2}/test_prompt_simulation.py::test_prompts_of_every_pass',
                          f'{SAM2}/test_prompt_simulation.py::test_memories',
                          f'{SAM2}/test_prompt_simulation.py::test_clicks_of_evaluation'],
    'loss: focal, dice, IoU, object score, weights': [
        f'{SAM2}/test_criterion.py::test_terms_of_a_pass',
        f'{SAM2}/test_criterion.py::test_losses_are_weighted_and_divided_by_the_objects'],
    'loss: wrongly absent objects': [f'{SAM2}/test_model.py::test_an_object_that_is_wrongly_taken_for_absent'],
    'AMP (bf16)': [f'{SAM2}/test_model.py::test_mixed_precision_on_the_cpu',
                   f'{SAM2}/test_network.py::test_bfloat16_autocast'],
    'AdamW, layer-wise decay, vision lr': [f'{PATTERNS}::test_base_plus_has_the_official_groups',
                                           f'{PATTERNS}::test_fused_equals_foreach'],
    'gradient clip': ['engine/optim/test_optim_wrapper.py::test_clip_by_norm'],
    'a schedule per option': [f'{PATTERNS}::test_schedules_by_group_over_a_run'],
    'save_dir, save_freq, save_list': [HOOK],
    'model_weight_initializer': [f'{RUNS}/test_runner.py::test_load_skip',
                                 f'{SAM2}/test_weights.py::test_there_and_back'],
    'launch': ['slurm', f'{RUNS}/test_processes.py', f'{SAM2}/test_zero_gradients.py::test_two_processes'],
    'logging': [f'{RUNS}/test_logs.py'],
    'train and val lists': ['datasets/test_video_lists.py::test_every_video_is_in_one_list'],
    'frames of SA-V': ['datasets/test_sav_frames.py::test_command'],
    'J&F of folders': ['cli/test_eval_vos.py::test_scores'],
    'inference on images and videos': ['inference/test_sam2_jobs.py::test_the_command_line'],
}


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize('option', OPTIONS)
def test_every_option_is_observed(option):
    for place in OPTIONS[option]:
        file, _, function = place.partition('::')
        assert (TESTS / file).exists(), place
        assert not function or function in functions_of(TESTS / file), place
