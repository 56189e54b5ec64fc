"""What learns in the shipped recipes, and that the knobs at their top reach what they are for."""
from pathlib import Path

import pytest
import torch
from tiny_clips import ALWAYS, ONE_FRAME, gradients, losses_of, tiny_batch, tiny_sam2

from maskforge.checkpoints import load_weights
from maskforge.config import load_config
from maskforge.layers.lora import LoRALinear, add_lora

CONFIGS = Path(__file__).resolve().parents[3] / 'configs/sam2'
CLICKS = dict(prompts=dict(**ALWAYS['clicks'], **ONE_FRAME, num_correction_pt_per_frame=1))
KNOBS = [
    ('resolution = 1024', 'resolution = 512', ('model.network.image_size', 'val_dataloader.dataset.image_size'), 512),
    ('train_batch_size = 1', 'train_batch_size = 3', ('train_dataloader.batch_size',), 3),
    ('num_train_workers = 10', 'num_train_workers = 2', ('train_dataloader.num_workers',), 2),
    ('num_frames = 8', 'num_frames = 4', ('train_dataloader.dataset.sampler.num_frames',), 4),
    ('max_num_objects = 3', 'max_num_objects = 5', ('train_dataloader.dataset.sampler.max_num_objects',), 5),
    ('base_lr = 5e-6', 'base_lr = 1e-5', ('optim_wrapper.optimizer.lr',), 1e-5),
    ('vision_lr = 3e-6', 'vision_lr = 2e-6', ('optim_wrapper.paramwise_cfg.rules.lr.0.value',), 2e-6),
    ('phases_per_epoch = 1', 'phases_per_epoch = 2', ('train_dataloader.batch_sampler.phases_per_epoch',), 2),
    ('phases_per_epoch = 1', 'phases_per_epoch = 2', ('train_cfg.max_epochs', 'param_scheduler.0.end'), 80),
    ('num_epochs = 40', 'num_epochs = 6', ('train_cfg.max_epochs', 'param_scheduler.0.end'), 6),
    ('multiplier = 2', 'multiplier = 5', ('train_dataloader.dataset.multiplier',), 5),
    ("'data/MOSE/train.txt'", "'own.txt'", ('train_dataloader.dataset.video_dataset.file_list_txt',), 'own.txt'),
    ("'data/MOSE/train/JPEGImages'", "'frames'", ('train_dataloader.dataset.video_dataset.img_folder',), 'frames'),
]


def test_lora_recipe():
    settings = load_config(CONFIGS / 'sam2.1_hiera-b+_mose-lora.py').model.lora
    plain, model = (tiny_sam2(**CLICKS, network=dict(memory_dropout=0.0)) for _ in range(2))
    add_lora(model, **{**settings, 'dropout': 0.0})
    report = load_weights(model, plain.state_dict())
    assert all('.lora_' in name for name in report.missing) and not report.unexpected
    batch = tiny_batch(2, (1,))
    layers = {name for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    assert {name.split('.')[1] for name in layers} == {'image_encoder', 'memory_attention'}
    assert losses_of(model, batch)['loss_mask'] == losses_of(plain, batch)['loss_mask']
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.lora_up, std=0.1)
    found = gradients(model, batch)
    for name in layers:  # every addition acts, and learns
        assert found[f'{name}.lora_up'].any() and found[f'{name}.lora_down'].any()
    rest = {name for name in found if '.lora_' not in name}
    assert rest and all(name.startswith('network.sam_mask_decoder.') for name in rest)


def test_decoder_recipe():
    settings = load_config(CONFIGS / 'sam2.1_hiera-b+_mose-decoder.py').model
    model = tiny_sam2(**CLICKS, freeze=settings['freeze'], freeze_image_encoder=settings.freeze_image_encoder)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith('network.sam_mask_decoder.')}
    assert set(gradients(model, tiny_batch(2, (1,)))) <= learning


@pytest.mark.parametrize(('text', 'changed', 'paths', 'value'), KNOBS, ids=[row[1] for row in KNOBS])
def test_knob(tmp_path, text, changed, paths, value):
    """Copied with another value at its top, the recipe has that value everywhere."""
    recipe = (CONFIGS / 'sam2.1_hiera-b+_mose-finetune.py').read_text()
    assert recipe.count(text) == 1
    copied = recipe.replace(text, changed).replace("'../_base_", f"'{CONFIGS.parent}/_base_")
    (tmp_path / 'own.py').write_text(copied)
    cfg = load_config(tmp_path / 'own.py')
    for path in paths:
        node = cfg
        for key in path.split('.'):
            node = node[int(key)] if key.isdecimal() else node[key]
        assert node == value
    sizes = [step.sizes for step in cfg.train_dataloader.dataset.pipeline if step.type == 'ClipResize']
    assert sizes == [cfg.model.network.image_size]
