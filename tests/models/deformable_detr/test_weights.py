import argparse

import pytest
import torch

from maskforge.checkpoints import load_weights
from maskforge.checkpoints.name_rules import COCO_IDS
from maskforge.models.deformable_detr import (
    HuggingFaceDeformableDETRLayout,
    HuggingFaceHubDeformableDETRLayout,
    MMDetectionDeformableDETRLayout,
    OfficialDeformableDETRLayout,
    TAODeformableDETRLayout,
)
from maskforge.models.deformable_detr.weights import fit_rows
from maskforge.registry import CHECKPOINT_LAYOUTS, MODELS

LAYOUTS = [OfficialDeformableDETRLayout(), TAODeformableDETRLayout(), HuggingFaceDeformableDETRLayout(),
           HuggingFaceHubDeformableDETRLayout(), MMDetectionDeformableDETRLayout()]
VARIANTS = dict(base={}, refine=dict(with_box_refine=True), two_stage=dict(with_box_refine=True, two_stage=True))
MILLIONS = dict(base=(40.070, 39.847), refine=(40.850, 40.627), two_stage=(41.182, 40.959))
OFFICIAL = dict(base=561, refine=597, two_stage=630)
HUGGING_FACE = dict(base=585, refine=621, two_stage=654)


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture
def full(variant):
    """The published network on the meta device."""
    backbone = dict(type='ResNet', depth=50, frozen_stages=1, norm_cfg=dict(type='FrozenBN'))
    with torch.device('meta'):
        return MODELS.build(dict(type='DeformableDETR', backbone=backbone, **VARIANTS[variant]))


def test_published_sizes(full, variant):
    counts = [sum(p.numel() for p in full.parameters() if p.requires_grad or everything)
              for everything in (True, False)]
    assert [round(count / 1e6, 3) for count in counts] == list(MILLIONS[variant])
    trained = {name: p.numel() for name, p in full.named_parameters() if p.requires_grad}
    slow = sum(n for name, n in trained.items() if 'reference_points' in name or 'sampling_offsets' in name)
    assert sum(n for name, n in trained.items() if name.startswith('backbone.')) == 23_232_512
    assert slow == (789_504 if variant == 'two_stage' else 790_018)


def test_entry_counts(full, variant):
    counts = [len(layout.from_ours(full.state_dict(), full)) for layout in LAYOUTS[:4]]
    assert counts == [OFFICIAL[variant]] * 2 + [HUGGING_FACE[variant]] * 2


def test_transformers_has_the_same_names_and_shapes(full, variant):
    transformers = pytest.importorskip('transformers')
    backbone = transformers.TimmBackboneConfig(backbone='resnet50', out_indices=[2, 3, 4],
                                               use_pretrained_backbone=False)
    with torch.device('meta'):
        theirs = transformers.DeformableDetrForObjectDetection(transformers.DeformableDetrConfig(
            backbone_config=backbone, num_labels=91, **VARIANTS[variant])).state_dict()
    ours = HuggingFaceDeformableDETRLayout().from_ours(full.state_dict(), full)
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_round_trips_are_exact(make_random, variant, layout):
    model = make_random(**VARIANTS[variant])
    ours = model.state_dict()
    theirs = layout.from_ours(ours, model)
    assert [other.matches(theirs) for other in LAYOUTS] == [other is layout for other in LAYOUTS]
    assert not layout.matches(ours) and CHECKPOINT_LAYOUTS.get(type(layout).__name__)().fits(model)
    back = layout.to_ours(theirs, model)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())


@pytest.mark.parametrize('layout', LAYOUTS[:4], ids=lambda layout: type(layout).__name__)
def test_the_way_there_and_back_for_their_files(make_random, variant, layout):
    model = make_random(**VARIANTS[variant])
    theirs = layout.from_ours(model.state_dict(), model)
    again = layout.from_ours(layout.to_ours(theirs, model), model)
    assert again.keys() == theirs.keys() and all(torch.equal(again[name], value) for name, value in theirs.items())


def test_names_of_the_release(make, variant):
    model = make(**VARIANTS[variant])
    names = OfficialDeformableDETRLayout().from_ours(model.state_dict(), model).keys()
    assert {'backbone.0.body.layer1.0.conv1.weight', 'input_proj.3.0.bias', 'input_proj.0.1.weight',
            'transformer.level_embed', 'transformer.encoder.layers.1.self_attn.sampling_offsets.weight',
            'transformer.decoder.layers.1.self_attn.in_proj_weight', 'transformer.decoder.layers.0.norm3.bias',
            'class_embed.1.bias', 'bbox_embed.1.layers.2.bias'} <= names
    assert ('transformer.decoder.bbox_embed.1.layers.0.weight' in names) is (variant != 'base')
    assert ('transformer.decoder.class_embed.2.weight' in names) is (variant == 'two_stage')
    assert ('transformer.pos_trans_norm.weight' in names) is (variant == 'two_stage')
    assert ('transformer.reference_points.weight' in names) is (variant != 'two_stage')


def test_norms_of_the_decoder_change_places(make):
    model = make()
    state = {name: torch.randn_like(value) if 'norm' in name else value for name, value in model.state_dict().items()}
    theirs = OfficialDeformableDETRLayout().from_ours(state, model)
    layer = 'decoder.layers.0'
    for official, own in (('norm2', 'self_attn_norm'), ('norm1', 'cross_attn_norm'), ('norm3', 'ffn_norm')):
        assert torch.equal(theirs[f'transformer.{layer}.{official}.weight'], state[f'{layer}.{own}.weight'])
    mmdet = MMDetectionDeformableDETRLayout().from_ours(state, model)
    for number, own in enumerate(('self_attn_norm', 'cross_attn_norm', 'ffn_norm')):
        assert torch.equal(mmdet[f'{layer}.norms.{number}.weight'], state[f'{layer}.{own}.weight'])


def test_mmdetection_loses_the_bias_of_projections_and_it_is_said(make, monkeypatch):
    model = make()
    said = []
    monkeypatch.setattr('maskforge.models.deformable_detr.weights.print_log', lambda text, *_: said.append(text))
    layout = MMDetectionDeformableDETRLayout()
    layout.from_ours(model.state_dict(), model)
    assert not said  # a fresh bias is zero
    torch.nn.init.ones_(model.levels.projections[1][0].bias)
    theirs = layout.from_ours(model.state_dict(), model)
    assert len(said) == 1 and 'input_proj.1.0.bias are not zero and are left out' in said[0]
    assert 'neck.extra_convs.0.conv.weight' in theirs and 'neck.convs.0.conv.bias' not in theirs
    assert 'backbone.bn1.num_batches_tracked' in theirs
    assert not layout.to_ours(theirs, model)['levels.projections.1.0.bias'].any()


def test_names_of_mmdetection_2(make_random, variant):
    model = make_random(**VARIANTS[variant])
    new = MMDetectionDeformableDETRLayout().from_ours(model.state_dict(), model)
    replaced = [('query_embedding.', 'bbox_head.query_embedding.'),
                ('level_embed', 'bbox_head.transformer.level_embeds'),
                ('reference_points_fc.', 'bbox_head.transformer.reference_points.'),
                ('memory_trans_fc.', 'bbox_head.transformer.enc_output.'),
                ('memory_trans_norm.', 'bbox_head.transformer.enc_output_norm.'),
                ('pos_trans_fc.', 'bbox_head.transformer.pos_trans.'),
                ('pos_trans_norm.', 'bbox_head.transformer.pos_trans_norm.'),
                ('encoder.', 'bbox_head.transformer.encoder.'), ('decoder.', 'bbox_head.transformer.decoder.'),
                ('.self_attn.', '.attentions.0.'), ('.cross_attn.', '.attentions.1.'), ('.ffn.', '.ffns.0.')]
    old = {}
    for name, value in new.items():
        for current, former in replaced:
            if current.startswith('.') or name.startswith(current):
                name = name.replace(current, former, 1)
        old[name] = value
    assert 'bbox_head.transformer.decoder.layers.0.attentions.0.attn.in_proj_weight' in old
    back = MMDetectionDeformableDETRLayout().to_ours(old, model)
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize('prefix', ['model.model.', 'model.'])
def test_both_prefixes_of_tao(make_random, prefix):
    model = make_random()
    official = OfficialDeformableDETRLayout().from_ours(model.state_dict(), model)
    found = TAODeformableDETRLayout().to_ours({prefix + name: value for name, value in official.items()}, model)
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


def test_a_file_of_the_release_with_its_args(make, make_random, tmp_path):
    source, target = make_random(with_box_refine=True), make(with_box_refine=True)
    state = OfficialDeformableDETRLayout().from_ours(source.state_dict(), source)
    state['transformer.encoder.total_ops'] = torch.zeros(1)
    torch.save(dict(model=state, optimizer={}, epoch=3, args=argparse.Namespace(lr=2e-4)), tmp_path / 'r50.pth')
    report = load_weights(target, tmp_path / 'r50.pth')
    assert report.complete and report.layout == 'OfficialDeformableDETRLayout'
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values()))


def test_another_number_of_classes_drops_the_class_heads_and_says_so(make, make_random):
    source, target = make_random(num_classes=5), make(num_classes=3)
    report = load_weights(target, OfficialDeformableDETRLayout().from_ours(source.state_dict(), source))
    assert {name for name, *_ in report.mismatched} == {'heads.cls.0.weight', 'heads.cls.0.bias'}


def test_91_rows_and_80(make_random):
    many = make_random(num_classes=91, **VARIANTS['two_stage'])
    few = make_random(num_classes=80, **VARIANTS['two_stage'])
    layout = OfficialDeformableDETRLayout()
    ours = layout.to_ours(layout.from_ours(many.state_dict(), many), few)
    assert torch.equal(ours['heads.cls.0.weight'], many.heads.cls[0].weight[COCO_IDS])
    # the proposals' head says 'object' in row 0, whatever the classes are
    assert torch.equal(ours['heads.cls.2.weight'][0], many.heads.cls[2].weight[0])
    few.load_state_dict(ours)


def test_fit_rows():
    rows = torch.arange(80.0)
    full = fit_rows(rows, 91)
    assert torch.equal(full[COCO_IDS], rows) and full[12] < -4 and full[0] < -4
    assert torch.equal(fit_rows(full, 80), rows)
    assert fit_rows(torch.ones(80, 4), 91)[12].tolist() == [0.0] * 4
    assert fit_rows(rows, 7) is rows
    assert fit_rows(rows, 91, is_proposal=True)[0] == 0.0


def test_timm_backbones_travel_too(make, make_random):
    options = dict(whole_backbone=dict(type='TimmBackbone', model_name='resnet10t'))
    model = make_random(**options)
    for layout in LAYOUTS[:3]:
        theirs = layout.from_ours(model.state_dict(), model)
        assert not any('timm_model' in name or 'num_batches' in name for name in theirs)
        fresh = make(**options)
        assert load_weights(fresh, theirs).complete
        assert torch.equal(fresh.backbone.timm_model.layer1[0].conv1.weight,
                           model.backbone.timm_model.layer1[0].conv1.weight)
