"""Every option of the model, its losses, its predictions and its optimisation changes what it is meant to change.

A row gives two settings of one option, what is observed, and what must hold between the two observations. Observed
elsewhere: modes, freezing and the gradients of activation checkpointing in ``test_model.py``; weights of the losses and
TAO's in ``test_criterion.py``; the thresholds' exact rules in ``test_postprocess.py``; sizes of the backbones in
``tests/backbones``; momentum, StepLR and the plateaus' arithmetic with Deformable DETR's options; data options in
``tests/datasets``; export in ``tests/export``.
"""
import re
from operator import gt, lt, ne
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from observed_options import kept_for_backward, learning_parts, loss_of, losses, operations, optim_wrapper, raw
from tiny_mask2former import draw_all, tiny_mask2former_config

from maskforge.config import load_config
from maskforge.engine import Runner
from maskforge.registry import MODELS, PARAM_SCHEDULERS

CONFIGS = Path(__file__).parents[3] / 'configs' / 'mask2former'
RECIPE = CONFIGS / 'mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py'
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2), window_size=4)
EFFICIENT = dict(type='EfficientViT', widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head_dim=8)


def logits(model, images, samples) -> float:
    return raw(model, images, samples).class_logits.sum().item()


def predictions(model, images, samples) -> int:
    return len(raw(model, images, samples).class_logits)


def differs_in_training(model, images, samples) -> bool:
    first, second = (logits(model.train(), images, samples) for _ in range(2))
    return first != second


def segments(model, images, samples) -> int:
    return sum(len(sample.pred_panoptic) for sample in model(images, samples, mode='predict'))


def segments_where_no_object_is_likelier(model, images, samples) -> int:
    with torch.no_grad():
        model.decoder.class_embed.bias[-1] += 5
    return segments(model, images, samples)


def instances(model, images, samples):
    return model(images, samples, mode='predict')[0].pred_instances


def count(*case) -> int:
    return len(instances(*case))


def lowest_score(*case) -> float:
    return instances(*case).scores.min().item()


@torch.no_grad()
def position_steers(model, images, samples) -> bool:
    """Whether there is an absolute position embedding whose values show in the output."""
    before = logits(model, images, samples)
    for name, parameter in model.backbone.named_parameters():
        if name == 'absolute_pos_embed':
            parameter += torch.randn_like(parameter)
    return before != logits(model, images, samples)


def position_side(model, images, samples) -> int:
    return model.backbone.absolute_pos_embed.shape[-1]


def swin(**options) -> dict:
    return dict(whole_backbone=dict(SWIN, **options))


def are(*wanted):
    return lambda *found: found == wanted


PANOPTIC, INSTANCE = dict(object_mask_threshold=0., overlap_threshold=0.), dict(mode='instance')
ROWS = {
    'num_classes': (dict(num_classes=3), dict(num_classes=7), lambda *case: raw(*case).class_logits.shape[-1],
                    are(4, 8)),
    'num_queries': (dict(num_queries=10), dict(num_queries=15), lambda *case: raw(*case).class_logits.shape[2],
                    are(10, 15)),
    'dec_layers': (dict(dec_layers=1), dict(dec_layers=4), predictions, are(2, 5)),
    'enc_layers': (dict(enc_layers=1), dict(enc_layers=2), operations, lt),
    'hidden_dim': (dict(hidden_dim=32), dict(hidden_dim=64), operations, lt),
    'enc_feedforward': (dict(enc_feedforward=32), dict(enc_feedforward=128), operations, lt),
    'dim_feedforward': (dict(dim_feedforward=32), dict(dim_feedforward=128), operations, lt),
    'mask_dim': (dict(mask_dim=16), dict(mask_dim=48), operations, lt),
    'nheads': (dict(nheads=2), dict(nheads=4), logits, ne),
    'pre_norm': (dict(pre_norm=False), dict(pre_norm=True), logits, ne),
    **{f'head_norm {name}': (dict(head_norm='GN'), dict(head_norm=name),
                             lambda *case: raw(*case).mask_features.std().item(), ne) for name in ('SyncBN', 'LN', '')},
    'dropout_ratio': (dict(), dict(dropout_ratio=0.3), differs_in_training, lt),
    'activation_checkpoint': (dict(), dict(activation_checkpoint=True), kept_for_backward, gt),
    'freeze': (dict(), dict(freeze=['backbone', 'sem_seg_head.pixel_decoder']), learning_parts,
               lambda first, second: first - second == {'backbone', 'pixel_decoder'}),
    'backbone': (dict(), swin(), operations, ne),
    'swin.window_size': (swin(window_size=2), swin(window_size=8), operations, ne),
    'swin.ape': (swin(), swin(ape=True), position_steers, lt),
    'swin.pretrain_img_size': (swin(ape=True, pretrain_img_size=64), swin(ape=True, pretrain_img_size=224),
                               position_side, are(16, 56)),
    'swin.use_checkpoint (with_cp)': (swin(), swin(with_cp=True), kept_for_backward, gt),
    'efficientvit.name': (dict(whole_backbone=EFFICIENT), dict(whole_backbone=dict(EFFICIENT, arch='l0')), operations,
                          ne),
    'class_weight': (dict(), dict(class_weight=0.), loss_of('loss_ce'), lambda first, second: first > second == 0),
    'mask_weight': (dict(), dict(mask_weight=0.), loss_of('loss_mask'), lambda first, second: first > second == 0),
    'dice_weight': (dict(), dict(dice_weight=0.), loss_of('loss_dice'), lambda first, second: first > second == 0),
    'no_object_weight': (dict(), dict(no_object_weight=0.9), loss_of('loss_ce'), ne),
    'num_points': (dict(), dict(num_points=200), loss_of('loss_mask'), ne),
    'oversample_ratio': (dict(), dict(oversample_ratio=8), loss_of('loss_mask'), ne),
    'importance_sample_ratio': (dict(), dict(importance_sample_ratio=0), loss_of('loss_mask'), ne),
    'deep_supervision': (dict(), dict(deep_supervision=False), lambda *case: 'loss_ce_0' in losses(*case), gt),
    'tao_compat, of the loss': (dict(), dict(tao_compat=True), loss_of('loss_mask'), ne),
    'tao_compat, of segments': (PANOPTIC, dict(PANOPTIC, tao_compat=True), segments_where_no_object_is_likelier,
                                lambda first, second: first == 0 < second),
    'object_mask_threshold': (PANOPTIC, dict(PANOPTIC, object_mask_threshold=0.99), segments,
                              lambda first, second: first > second == 0),
    'overlap_threshold': (dict(PANOPTIC, tao_compat=True), dict(PANOPTIC, tao_compat=True, overlap_threshold=0.95),
                          segments, gt),
    'topk_per_image': (INSTANCE, dict(INSTANCE, topk_per_image=4), count, lambda first, second: first > 4 >= second),
    'score_threshold': (INSTANCE, dict(INSTANCE, score_threshold=0.15), lowest_score,
                        lambda first, second: first < 0.15 <= second),
    'dedup_iou': (INSTANCE, dict(INSTANCE, dedup_iou=0.2), count, gt),
    'boxes_from_masks': (INSTANCE, dict(INSTANCE, boxes_from_masks=False),
                         lambda *case: bool(instances(*case).bboxes.any()), gt),
}


@pytest.mark.parametrize('row', ROWS)
def test_option(make, images, samples, row):
    first, second, observe, relation = ROWS[row]
    found = [observe(make(**options).eval(), images, samples) for options in (first, second)]
    assert relation(*found), found


@pytest.mark.parametrize('backbone', [SWIN, EFFICIENT], ids=['swin', 'efficientvit'])
def test_out_indices(make, images, backbone):
    """A backbone gives what is asked for; Mask2Former asks for all four levels, and says so where others are given."""
    levels = MODELS.build(dict(backbone, out_indices=(1, 3)))(images)
    assert [tuple(level.shape[-2:]) for level in levels] == [(12, 16), (3, 4)]
    with pytest.raises(ValueError, match=r'four levels of a backbone, of strides \(4, 8, 16, 32\).*out_indices'):
        make(whole_backbone=dict(backbone, out_indices=(1, 3)))


@pytest.mark.parametrize(('backbone', 'key'), [(SWIN, 'model'), (EFFICIENT, 'state_dict')],
                         ids=['swin', 'efficientvit'])
def test_pretrained_weights(make, tmp_path, backbone, key):
    source = MODELS.build(backbone)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    torch.save({key: source.state_dict()}, tmp_path / 'backbone.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    model = make(whole_backbone=dict(backbone, init_cfg=init_cfg))
    model.init_weights()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.backbone.state_dict().items())


# optimisation ----------------------------------------------------------------------------------------------------

#: names without their numbers
WITHOUT_DECAY = {
    'backbone.absolute_pos_embed', 'backbone.layers.blocks.attn.relative_position_bias_table',
    'backbone.patch_embed.norm', 'backbone.layers.blocks.norm', 'backbone.layers.downsample.norm', 'backbone.norm',
    'pixel_decoder.input_proj.norm', 'pixel_decoder.encoder.layers.norm', 'pixel_decoder.lateral.norm',
    'pixel_decoder.output.norm', 'decoder.layers.norm_cross', 'decoder.layers.norm_self', 'decoder.layers.norm_ffn',
    'decoder.norm', 'decoder.query_feat', 'decoder.query_embed', 'decoder.level_embed'}
BACKBONE, REST = 'backbone.layers.2.blocks.0.mlp.fc1.weight', 'decoder.layers.0.linear1.weight'


@pytest.fixture(scope='module')
def recipe():
    """The shipped config of Swin-T on COCO panoptic."""
    return load_config(RECIPE)


def general(name: str) -> str:
    """'layers.0.blocks.1.norm2.weight' -> 'layers.blocks.norm'"""
    name = re.sub(r'input_proj\.\d\.1', 'input_proj.norm', name)
    return re.sub(r'\.\d+|(?<=norm)\d', '', name).removesuffix('.weight').removesuffix('.bias')


def settings(model, built) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter."""
    of = {id(p): (group['lr'], group['weight_decay']) for group in built.param_groups for p in group['params']}
    return {name: of[id(p)] for name, p in model.named_parameters()}


def test_parameter_groups_of_the_recipe(make, recipe):
    """Spec: the backbone at a tenth; no decay of norms, embeddings and tables of positions; all else decays."""
    model = make(**swin(ape=True))
    found = settings(model, build_optim_wrapper(model, recipe.optim_wrapper))
    for name, (rate, decay) in found.items():
        assert rate == pytest.approx(1e-5 if name.startswith('backbone.') else 1e-4), name
        assert decay == (0 if general(name) in WITHOUT_DECAY else 0.05), name
    assert {general(name) for name, (_, decay) in found.items() if decay == 0} == WITHOUT_DECAY
    # a bias, and the codes of the pixel decoder's levels, decay
    assert found['pixel_decoder.level_embed'][1] == found['decoder.class_embed.bias'][1] == 0.05


@pytest.mark.parametrize('kind', ['SGD', 'AdamW'])
def test_optimizer_rate_decay_and_multiplier(make, recipe, kind):
    """The step with a gradient of 1 everywhere is the rate; with a gradient of 0, rate x decay of the weight."""
    for gradient, decay in ((1., 0.), (0., 0.5)):
        model = make(**swin())
        built = optim_wrapper(model, dict(type=kind, lr=1e-2, weight_decay=decay), recipe.optim_wrapper.paramwise_cfg)
        parameters = dict(model.named_parameters())
        before = {name: parameters[name].detach().clone() for name in (BACKBONE, REST)}
        built.update_params(sum(p.sum() for p in parameters.values()) * gradient)
        for name, rate in ((BACKBONE, 1e-3), (REST, 1e-2)):
            expected = torch.full_like(before[name], rate) if gradient else rate * decay * before[name]
            torch.testing.assert_close(before[name] - parameters[name].detach(), expected, rtol=2e-2, atol=2e-7)


@pytest.mark.parametrize(('clip_grad', 'whole'), [
    (None, 0.01), (dict(type='full', max_norm=0.1), 0.1), (dict(type='per_parameter', max_norm=0.1), None),
    (dict(max_norm=0), None)], ids=['of the recipe', 'full', 'per parameter', 'off'])
def test_clip_grad(make, recipe, clip_grad, whole):
    """With SGD at a rate of 1 the parameters move by the clipped gradient."""
    model = make()
    before = [p.detach().clone() for p in model.parameters()]
    clip_grad = recipe.optim_wrapper.clip_grad if clip_grad is None else clip_grad
    built = optim_wrapper(model, dict(type='SGD', lr=1.0), clip_grad=clip_grad)
    built.update_params(sum(p.sum() for p in model.parameters()))
    norms = torch.stack([(old - p.detach()).norm() for old, p in zip(before, model.parameters())])
    if whole:
        assert norms.norm().item() == pytest.approx(whole, rel=1e-2)
    elif clip_grad['max_norm']:
        assert norms.tolist() == pytest.approx([0.1] * len(norms), rel=1e-2)
    else:
        assert norms.norm() > 30


class TwoParts(torch.nn.Module):
    """What the schedules need of a model."""

    def __init__(self):
        super().__init__()
        self.backbone, self.decoder = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)


@pytest.mark.parametrize(('name', 'want'), [
    (RECIPE.name, {0: 1, 327777: 1, 327778: 0.1, 355091: 0.1, 355092: 0.01, 368749: 0.01}),
    ('mask2former_swin-l-p4-w12-384-in22k_16xb1-lsj-100e_coco-panoptic.py', {655555: 1, 655556: 0.1, 737499: 0.01}),
    ('mask2former_swin-t_8xb2-160k_ade20k-semantic-512x512.py', {0: 1, 80000: 0.5**0.9, 159999: 0}),
    ('mask2former_swin-t_tao-10e_coco-panoptic.py', {0: 1, 7: 1, 8: 0.1, 9: 0.1})])
def test_schedules_of_the_recipes(name, want):
    cfg = load_config(CONFIGS / name)
    built = build_optim_wrapper(TwoParts(), cfg.optim_wrapper)
    schedule, = (PARAM_SCHEDULERS.build(dict(item, optimizer=built)) for item in cfg.param_scheduler)
    for step, factor in want.items():
        assert schedule.value_at(step, 1., base=1., group=0) == pytest.approx(factor, abs=1e-4), step
    assert [group['lr'] for group in built.optimizer.param_groups] == pytest.approx(
        [0.1 * cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.lr])


@pytest.mark.parametrize(('schedule', 'want'), [
    (dict(type='StepLR', step_size=2, gamma=0.1), [1, 1, 0.1, 0.1, 0.01, 0.01]),
    (dict(type='MultiStepLR', milestones=[1, 3], gamma=0.5), [1, 0.5, 0.5, 0.25, 0.25, 0.25]),
    (dict(type='AutoReduce', monitor='val_loss', factor=0.1, patience=0), [1, 1, 1, 1, 0.1, 0.01]),
    (dict(type='AutoReduce', monitor='train_loss', factor=0.1, patience=0), [1] * 6)])
def test_a_schedule_scales_both_rates(recipe, schedule, want):
    """val_loss stands still from the third epoch on, train_loss falls throughout."""
    built = build_optim_wrapper(TwoParts(), recipe.optim_wrapper)
    scheduler = PARAM_SCHEDULERS.build(dict(schedule, optimizer=built, by_epoch=True))
    for epoch, factor in enumerate(want):
        rates = [group['lr'] for group in built.optimizer.param_groups]
        assert rates == pytest.approx([factor * 1e-5, factor * 1e-4])
        built.optimizer.step()
        metrics = dict(val_loss=max(5. - epoch, 3.), train_loss=5. - epoch / 2)
        scheduler.step(metrics) if schedule['type'] == 'AutoReduce' else scheduler.step()


@pytest.mark.parametrize(('name', 'dtype'), [
    ('mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', torch.float32),
    ('mask2former_r50_8xb2-amp-lsj-50e_coco-panoptic.py', torch.bfloat16)])  # what CPUs have instead of float16
def test_precision(make, images, name, dtype):
    model, seen = make(), []
    model.decoder.class_embed.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    built = build_optim_wrapper(model, load_config(CONFIGS / name).optim_wrapper)
    with built.optim_context(model):
        model(images)
    assert seen == [dtype]


def test_a_run_with_short_epochs_and_plateaus(tmp_path):
    """iters_per_epoch, num_epochs, checkpoint_interval, monitor_name: no loss improves by 50, and the second
    validation of three lowers the rate for both monitors (the last has no use)."""
    drawn = draw_all(tmp_path / 'data', num_train=6, num_val=1)
    plateau = dict(type='AutoReduce', patience=0, threshold=50., threshold_rule='abs')
    runner = Runner.from_cfg(tiny_mask2former_config(
        drawn, tmp_path / 'run', 'instance', batch_size=1,
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1, iters_per_epoch=1),
        val_cfg=dict(type='ValLoop', val_loss=True),
        param_scheduler=[dict(plateau, monitor='val_loss', factor=0.1),
                         dict(plateau, monitor='train_loss', factor=0.5)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2))))
    runner.train()
    assert runner.iter == 3 and runner.epoch == 3
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.1 * 0.5 * 1e-3)
    assert sorted(path.name for path in (tmp_path / 'run').glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
