"""Every option of the model, its losses, its predictions and its optimisation changes what it is meant to change.

A row gives two settings of one option, what is observed, and what must hold between the two observations.
"""
from operator import gt, lt, ne

import pytest
import torch
from observed_options import (
    kept_for_backward,
    learning_parts,
    loss_of,
    losses,
    near,
    operations,
    optim_wrapper,
    raw,
    scaled,
)

from maskforge.layers.deformable_encoder import DeformableEncoderLayer
from maskforge.registry import PARAM_SCHEDULERS


def encoder_layers_run(model, images, samples) -> int:
    calls = []
    for module in model.modules():
        if isinstance(module, DeformableEncoderLayer):
            module.register_forward_hook(lambda *_: calls.append(1))
    raw(model, images, samples)
    return len(calls)


def tokens(model, images, samples) -> int:
    seen = []
    model.encoder.register_forward_hook(lambda module, arguments, output: seen.append(output.shape[1]))
    raw(model, images, samples)
    return seen[0]


@torch.no_grad()
def boxes_steer_the_next_layer(model, images, samples) -> bool:
    before = raw(model, images, samples).logits[-1]
    model.heads.box[0].layers[-1].bias += 1
    return not torch.equal(before, raw(model, images, samples).logits[-1])


@torch.no_grad()
def sees_the_padding(model, images, samples) -> bool:
    """Whether other tokens in the padding change the memory of tokens in the image."""
    seen = []
    hook = model.encoder.register_forward_pre_hook(
        lambda module, arguments, options: seen.append((arguments, options)), with_kwargs=True)
    raw(model, images, samples)
    hook.remove()
    (features, *others), options = seen[0]
    padding = options['padding'][..., None]
    before, after = (model.encoder(x, *others, **options) for x in (features, features + 3 * padding))
    return bool(((before - after).abs() * ~padding).max() > 1e-4)


def is_random_in_training(model, images, samples) -> bool:
    first, second = (raw(model.train(), images, samples).logits for _ in range(2))
    return not torch.equal(first, second)


def detections(model, images, samples) -> list[int]:
    return [len(sample.pred_instances) for sample in model(images, samples, mode='predict')]


def lowest_score(model, images, samples) -> float:
    return min(sample.pred_instances.scores.min().item() for sample in model(images, samples, mode='predict')
               if len(sample.pred_instances))


COSTS = dict(set_cost_class=2, set_cost_bbox=5, set_cost_giou=2)
REFINE = dict(with_box_refine=True)
#: of images of 96 x 128 pixels
TOKENS = {(0, 1, 2, 3, 4): 768 + 192 + 48 + 12 + 4, (1, 2, 3, 4): 192 + 48 + 12 + 4, (1, 2, 3): 252, (1, 2): 240,
          (1,): 192}
LEVELS = {f'num_feature_levels, return_interm_indices {indices}': (
    dict(num_feature_levels=1, return_interm_indices=[3]),
    dict(num_feature_levels=len(indices), return_interm_indices=list(indices)), tokens,
    lambda first, second, count=count: (first, second) == (12, count)) for indices, count in TOKENS.items()}
ROWS = {
    **LEVELS,
    'num_classes': (dict(num_classes=3), dict(num_classes=7), lambda *case: raw(*case).logits.shape[-1],
                    lambda first, second: (first, second) == (3, 7)),
    'num_queries': (dict(num_queries=10), dict(num_queries=15), lambda *case: raw(*case).boxes_cxcywh.shape[2],
                    lambda first, second: (first, second) == (10, 15)),
    'enc_layers': (dict(enc_layers=1), dict(enc_layers=3), encoder_layers_run,
                   lambda first, second: (first, second) == (1, 3)),
    'dec_layers': (dict(dec_layers=1), dict(dec_layers=3), lambda *case: len(raw(*case).logits),
                   lambda first, second: (first, second) == (1, 3)),
    'dim_feedforward': (dict(dim_feedforward=32), dict(dim_feedforward=128), operations, lt),
    'hidden_dim': (dict(hidden_dim=32), dict(hidden_dim=64), operations, lt),
    'enc_n_points': (dict(enc_n_points=1), dict(enc_n_points=4), operations, lt),
    'dec_n_points': (dict(dec_n_points=1), dict(dec_n_points=4), operations, lt),
    'nheads': (dict(nheads=2), dict(nheads=4), lambda *case: raw(*case).logits.sum().item(), ne),
    'backbone depth': (dict(), dict(backbone=dict(depth=34)), operations, lt),
    'backbone': (dict(), dict(whole_backbone=dict(type='GCViT', arch='gc_vit_xxtiny')), operations, lt),
    'train_backbone': (dict(), dict(train_backbone=False), learning_parts,
                       lambda first, second: first - second == {'backbone'}),
    'freeze': (dict(), dict(freeze=['transformer.encoder', 'levels']), learning_parts,
               lambda first, second: first - second == {'encoder', 'levels'}),
    'activation_checkpoint': (dict(), dict(activation_checkpoint=True), kept_for_backward,
                              lambda first, second: second < 0.8 * first),
    'dropout_ratio': (dict(dropout_ratio=0.), dict(dropout_ratio=0.3), is_random_in_training, lt),
    'with_box_refine': (dict(), REFINE, boxes_steer_the_next_layer, lt),
    'two_stage': (REFINE, dict(**REFINE, two_stage=True), lambda *case: 'loss_ce_enc' in losses(*case), lt),
    'aux_loss': (dict(), dict(aux_loss=False), lambda *case: 'loss_ce_0' in losses(*case), gt),
    'mask_value': (dict(), dict(mask_value=False), sees_the_padding, lt),
    'num_select': (dict(num_select=20), dict(num_select=4), detections,
                   lambda first, second: (first, second) == ([20, 20], [4, 4])),
    'conf_threshold': (dict(), dict(conf_threshold=0.5), lowest_score, lambda first, second: first < 0.5 <= second),
    'cls_loss_coef, of the loss': (COSTS, dict(COSTS, cls_loss_coef=6), loss_of('loss_ce'), scaled(3)),
    'bbox_loss_coef, of the loss': (COSTS, dict(COSTS, bbox_loss_coef=10), loss_of('loss_bbox_0'), scaled(2)),
    'giou_loss_coef, of the loss': (COSTS, dict(COSTS, giou_loss_coef=1), loss_of('loss_giou'), scaled(0.5)),
    'cls_loss_coef, of matching': (dict(), dict(cls_loss_coef=1e4), loss_of('loss_bbox'), lt),
    'bbox_loss_coef, of matching': (dict(giou_loss_coef=0.), dict(giou_loss_coef=0., bbox_loss_coef=0.),
                                    loss_of('loss_ce'), gt),
    'giou_loss_coef, of matching': (dict(bbox_loss_coef=0., giou_loss_coef=1e4),
                                    dict(bbox_loss_coef=0., giou_loss_coef=0.), loss_of('loss_ce'), gt),
    'set_cost_class': (dict(), dict(set_cost_class=1e4), loss_of('loss_bbox'), lt),
    'set_cost_bbox': (dict(), dict(set_cost_bbox=1e4), loss_of('loss_ce'), ne),
    'set_cost_giou': (dict(), dict(set_cost_giou=1e4), loss_of('loss_ce'), ne),
    'focal_alpha': (dict(), dict(focal_alpha=0.7), loss_of('loss_ce'), ne),
    'focal_alpha, not of matching': (dict(), dict(focal_alpha=0.7), loss_of('loss_bbox'), near),
}


@pytest.mark.parametrize('row', ROWS)
def test_option(make_random, images, samples, row):
    first, second, observe, relation = ROWS[row]
    found = [observe(make_random(**options).eval(), images, samples) for options in (first, second)]
    assert relation(*found), found


@pytest.mark.parametrize('options', [{}, REFINE, dict(**REFINE, two_stage=True)])
def test_without_aux_loss_no_gradient_is_waited_for(make_random, images, samples, options):
    """DistributedDataParallel needs one for every parameter that is not frozen."""
    model = make_random(aux_loss=False, **options)
    learning_parts(model, images, samples)
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert any(p.grad is not None for p in model.heads.cls.parameters())


def test_sizes_of_gc_vit(make):
    """By name: each is larger than the one before."""
    sizes = []
    for name in ('xxtiny', 'xtiny', 'tiny', 'small', 'base', 'large'):
        with torch.device('meta'):
            model = make(whole_backbone=dict(type='GCViT', arch=f'gc_vit_{name}'))
        sizes.append(sum(p.numel() for p in model.backbone.parameters()) / 1e6)
    assert sizes == sorted(sizes) and 10 < sizes[0] < 13 and 190 < sizes[-1] < 205


def test_pretrained_backbone(make, tmp_path):
    source = make().backbone
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'backbone.pth')
    model = make(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))))
    model.init_weights()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.backbone.state_dict().items())


# optimisation ----------------------------------------------------------------------------------------------------

BACKBONE, LINEAR = 'backbone.layer3.0.conv1.weight', 'encoder.layers.0.self_attn.sampling_offsets.weight'
POINTS, REST = 'reference_points.weight', 'decoder.layers.0.linear1.weight'
#: lr_backbone / lr and lr_linear_proj_mult, as the shipped configs write them
RATES = dict(custom_keys={'backbone': dict(lr_mult=0.05), 'sampling_offsets': dict(lr_mult=0.2),
                          'reference_points': dict(lr_mult=0.2)})


def moves(model, optimizer: dict) -> dict[str, float]:
    """How far parameters move in a step with a gradient of 1 everywhere."""
    built = optim_wrapper(model, optimizer, RATES)
    parameters = dict(model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    built.update_params(sum(p.sum() for p in model.parameters() if p.requires_grad))
    return {name: (before[name] - parameters[name].detach()).mean().item() for name in (REST, BACKBONE, LINEAR, POINTS)}


@pytest.mark.parametrize('kind', ['SGD', 'AdamW'])
def test_three_learning_rates(make, kind):
    found = moves(make(), dict(type=kind, lr=1e-2, weight_decay=0.0))
    assert list(found.values()) == pytest.approx([1e-2, 5e-4, 2e-3, 2e-3], rel=1e-2)


def test_momentum_and_kind():
    """SGD's second step grows by the momentum; AdamW's does not."""
    parameter = torch.nn.Linear(2, 2)
    for optimizer, growth in ((dict(type='SGD', momentum=0.9), 1.9), (dict(type='SGD', momentum=0.5), 1.5),
                              (dict(type='AdamW'), 1.0)):
        built = optim_wrapper(parameter, dict(**optimizer, lr=1e-2, weight_decay=0.))
        steps = []
        for _ in range(2):
            before = parameter.weight.detach().clone()
            built.update_params(parameter.weight.sum() + parameter.bias.sum())
            steps.append((before - parameter.weight.detach()).mean().item())
        assert steps[1] / steps[0] == pytest.approx(growth, rel=1e-2)


def test_weight_decay(make):
    lengths = []
    for decay in (0.0, 0.5):
        model = make()
        before = model.decoder.layers[0].linear1.weight.norm().item()
        built = optim_wrapper(model, dict(type='AdamW', lr=1e-1, weight_decay=decay))
        built.update_params(sum(p.sum() for p in model.parameters()) * 0)
        lengths.append(model.decoder.layers[0].linear1.weight.norm().item() / before)
    assert lengths == pytest.approx([1, 0.95], rel=1e-4)


@pytest.mark.parametrize(('clip_grad', 'length'), [
    (dict(type='full', max_norm=0.1), 0.1), (dict(type='norm', max_norm=0.2), 0.2), (dict(max_norm=0), None)])
def test_clip_grad_norm(make, clip_grad, length):
    """With SGD at a rate of 1 the parameters move by the clipped gradient."""
    model = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    built = optim_wrapper(model, dict(type='SGD', lr=1.0), clip_grad=clip_grad)
    built.update_params(sum(p.sum() for p in model.parameters() if p.requires_grad))
    moved = sum((p.detach() - before[name]).square().sum().item() for name, p in model.named_parameters())**0.5
    assert moved == pytest.approx(length, rel=1e-3) if length else moved > 30


@pytest.mark.parametrize(('schedule', 'want'), [
    (dict(type='MultiStepLR', milestones=[2], gamma=0.1), [1, 1, 0.1, 0.1, 0.1, 0.1]),
    (dict(type='MultiStepLR', milestones=[1, 3], gamma=0.5), [1, 0.5, 0.5, 0.25, 0.25, 0.25]),
    (dict(type='StepLR', step_size=2, gamma=0.1), [1, 1, 0.1, 0.1, 0.01, 0.01]),
    # val_loss stands still after the third epoch; train_loss falls throughout
    (dict(type='ReduceOnPlateauLR', monitor='val_loss', factor=0.1, patience=0), [1, 1, 1, 1, 0.1, 0.01]),
    (dict(type='ReduceOnPlateauLR', monitor='train_loss', factor=0.1, patience=0), [1] * 6)])
def test_schedule_scales_all_three_rates(make, schedule, want):
    model = make()
    built = optim_wrapper(model, dict(type='AdamW', lr=1e-2), RATES)
    scheduler = PARAM_SCHEDULERS.build(dict(schedule, optimizer=built, by_epoch=True))
    found = []
    for epoch in range(6):
        found.append(sorted({group['lr'] for group in built.param_groups}))
        built.update_params(sum(p.sum() for p in model.parameters()) * 0)
        metrics = dict(val_loss=max(5. - epoch, 3.), train_loss=5. - epoch / 2)
        scheduler.step(metrics) if 'Plateau' in schedule['type'] else scheduler.step()
    for rates, factor in zip(found, want):
        assert rates == pytest.approx([factor * 5e-4, factor * 2e-3, factor * 1e-2])
