"""Public layouts of Mask2Former: what needs no other library; transformers itself is in tests/parity."""
import pickle
import re

import pytest
import torch

from maskforge.checkpoints import load_weights
from maskforge.models.mask2former import (
    HuggingFaceHubMask2FormerLayout,
    HuggingFaceMask2FormerLayout,
    MMDetectionMask2FormerLayout,
    OfficialMask2FormerLayout,
    TAOMask2FormerLayout,
)
from maskforge.models.mask2former.model import own_parts
from maskforge.registry import CHECKPOINT_LAYOUTS, MODELS

OFFICIAL, TAO, MMDET = OfficialMask2FormerLayout(), TAOMask2FormerLayout(), MMDetectionMask2FormerLayout()
HF, HUB = HuggingFaceMask2FormerLayout(), HuggingFaceHubMask2FormerLayout()
LAYOUTS = [OFFICIAL, TAO, MMDET, HF, HUB]
BACKBONES = dict(
    swin=dict(type='SwinTransformer', embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=4),
    resnet=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='FrozenBN')),
    trained_resnet=dict(type='ResNet', depth=50, base_channels=8),
    efficientvit=dict(type='EfficientViT', arch='b0'),
    timm=dict(type='TimmBackbone', model_name='resnet10t'))
FULL = dict(swin=dict(type='SwinTransformer', arch='tiny'), resnet=dict(type='ResNet', depth=50,
                                                                        norm_cfg=dict(type='FrozenBN')))
CROSS, SELF, FFN = (f'sem_seg_head.predictor.transformer_{kind}_layers'
                    for kind in ('cross_attention', 'self_attention', 'ffn'))


def layout_id(layout):
    return type(layout).__name__.removesuffix('Mask2FormerLayout')


@pytest.fixture
def make_random(make):
    """The thin model with a backbone of ``BACKBONES`` and every tensor drawn, but counters and boolean ones."""
    def draw(backbone='swin', **options):
        model = make(whole_backbone=BACKBONES[backbone], **options)
        torch.manual_seed(1)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    tensor.normal_()
        return model
    return draw


@pytest.fixture
def full(request):
    """The published network on the meta device."""
    with torch.device('meta'):
        return MODELS.build(dict(type='Mask2Former', num_classes=133, backbone=FULL[request.param]))


def equal(found, wanted, but=()):
    wanted = {name: value for name, value in wanted.items() if not name.endswith(but or ('nothing',))}
    return found.keys() == wanted.keys() and all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize('full', ['swin'], indirect=True)
def test_published_sizes(full):
    def millions(*parts):
        return round(sum(p.numel() for name, p in full.named_parameters() if name.startswith(parts)) / 1e6, 2)
    assert millions('pixel_decoder.', 'decoder.') == 19.91 and millions('backbone.') == 27.52


# head 292 (transformers: 328, its projections are apart), class weights 1, Swin-T 189 with indices, ResNet-50 265
@pytest.mark.parametrize('full, counts', [('swin', [482, 482, 481, 556, 554]), ('resnet', [558, 558, 610])],
                         indirect=['full'])
def test_entry_counts(full, counts):
    assert [len(layout.from_ours(full.state_dict(), full)) for layout, _ in zip(LAYOUTS, counts)] == counts


# transformers has no other backbone than Swin
@pytest.mark.parametrize('layout, backbone', [(layout, backbone) for layout in LAYOUTS for backbone in BACKBONES
                                              if backbone == 'swin' or layout not in (HF, HUB)],
                         ids=lambda value: value if isinstance(value, str) else layout_id(value))
def test_round_trips_are_exact(make_random, layout, backbone):
    model = make_random(backbone)
    ours = model.state_dict()
    theirs = layout.from_ours(ours, model)
    assert [other.matches(theirs) for other in LAYOUTS] == [other is layout for other in LAYOUTS]
    assert not layout.matches(ours) and CHECKPOINT_LAYOUTS.get(type(layout).__name__)().fits(model)
    # Detectron2's norms do not count batches
    lost = 'num_batches_tracked' if 'resnet' in backbone and layout in (OFFICIAL, TAO) else ()
    assert equal(layout.to_ours(theirs, model), ours, but=lost)
    again = layout.from_ours(layout.to_ours(theirs, model), model)
    assert equal(again, theirs)
    report = load_weights(make_random(backbone), theirs)
    assert report.complete and report.layout == type(layout).__name__


@pytest.mark.parametrize('norm', ['GN', 'SyncBN', 'LN', ''])
@pytest.mark.parametrize('layout', [OFFICIAL, TAO, MMDET], ids=layout_id)
def test_norms_of_the_pyramid(make_random, norm, layout):
    model = make_random(head_norm=norm)
    assert equal(layout.to_ours(layout.from_ours(model.state_dict(), model), model), model.state_dict())


def test_batch_norms_have_their_name_at_mmdetection(make_random):
    names = [set(MMDET.from_ours(model.state_dict(), model)) for model in (
        make_random(head_norm='SyncBN'), make_random(head_norm='GN'))]
    for name in ('lateral_convs', 'output_convs'):
        assert f'panoptic_head.pixel_decoder.{name}.0.bn.num_batches_tracked' in names[0]
        assert f'panoptic_head.pixel_decoder.{name}.0.gn.weight' in names[1]
    assert 'panoptic_head.pixel_decoder.input_convs.0.gn.weight' in names[0] & names[1]


@pytest.mark.parametrize('layout, backbone, names', [
    (OFFICIAL, 'swin', [
        'backbone.layers.0.downsample.reduction.weight', 'sem_seg_head.pixel_decoder.input_proj.2.0.bias',
        'sem_seg_head.pixel_decoder.transformer.level_embed', 'sem_seg_head.pixel_decoder.adapter_1.weight',
        'sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.sampling_offsets.bias',
        'sem_seg_head.pixel_decoder.layer_1.norm.bias', 'sem_seg_head.pixel_decoder.mask_features.weight',
        f'{CROSS}.2.multihead_attn.in_proj_bias', f'{SELF}.2.self_attn.out_proj.weight', f'{FFN}.0.norm.weight',
        'sem_seg_head.predictor.decoder_norm.weight', 'sem_seg_head.predictor.query_feat.weight',
        'sem_seg_head.predictor.mask_embed.layers.2.bias', 'criterion.empty_weight']),
    (OFFICIAL, 'resnet', ['backbone.stem.conv1.norm.running_var', 'backbone.res5.1.conv2.weight',
                          'backbone.res3.0.shortcut.norm.weight']),
    (TAO, 'efficientvit', ['model.backbone.model.input_stem.op_list.0.conv.weight', 'criterion.empty_weight',
                           'model.sem_seg_head.predictor.class_embed.weight']),
    (TAO, 'swin', ['model.backbone.norm3.weight', 'model.backbone.layers.0.blocks.0.attn.qkv.bias']),
    (MMDET, 'swin', [
        'backbone.stages.1.blocks.1.attn.w_msa.qkv.weight', 'panoptic_head.pixel_decoder.input_convs.0.conv.bias',
        'panoptic_head.pixel_decoder.level_encoding.weight', 'panoptic_head.pixel_decoder.mask_feature.bias',
        'panoptic_head.pixel_decoder.encoder.layers.0.ffn.layers.0.0.weight',
        'panoptic_head.pixel_decoder.encoder.layers.0.norms.1.weight',
        'panoptic_head.pixel_decoder.lateral_convs.0.conv.weight',
        'panoptic_head.transformer_decoder.layers.2.cross_attn.attn.in_proj_weight',
        'panoptic_head.transformer_decoder.layers.2.ffn.layers.1.bias',
        'panoptic_head.transformer_decoder.post_norm.weight', 'panoptic_head.cls_embed.weight',
        'panoptic_head.mask_embed.4.weight', 'panoptic_head.query_embed.weight']),
    (MMDET, 'trained_resnet', ['backbone.layer1.0.bn3.num_batches_tracked', 'backbone.layer4.2.conv3.weight']),
    (HUB, 'swin', ['model.pixel_level_module.encoder.encoder.layers.1.blocks.1.attention.self.query.weight',
                   'model.pixel_level_module.encoder.hidden_states_norms.stage4.weight',
                   'model.transformer_module.decoder.layers.0.self_attn.v_proj.bias',
                   'model.transformer_module.decoder.layers.0.cross_attn.in_proj_weight']),
    (OFFICIAL, 'timm', ['backbone.layer1.0.conv1.weight']),
], ids=lambda value: layout_id(value) if hasattr(value, 'matches') else value if isinstance(value, str) else '')
def test_public_names(make_random, layout, backbone, names):
    model = make_random(backbone)
    theirs = set(layout.from_ours(model.state_dict(), model))
    assert set(names) <= theirs, set(names) - theirs


def test_norms_of_the_decoder_find_their_parts(make_random):
    model = make_random()
    state = model.state_dict()
    official, mmdet = (layout.from_ours(state, model) for layout in (OFFICIAL, MMDET))
    for number, (place, own) in enumerate(((CROSS, 'norm_cross'), (SELF, 'norm_self'), (FFN, 'norm_ffn'))):
        wanted = state[f'decoder.layers.1.{own}.weight']
        assert torch.equal(official[f'{place}.1.norm.weight'], wanted)
        assert torch.equal(mmdet[f'panoptic_head.transformer_decoder.layers.1.norms.{number}.weight'], wanted)


def test_no_object_is_first_at_tao_and_last_elsewhere(make_random):
    model = make_random(no_object_weight=0.25)
    own = model.decoder.class_embed.weight
    tao, official = (layout.from_ours(model.state_dict(), model) for layout in (TAO, OFFICIAL))
    rows = tao['model.sem_seg_head.predictor.class_embed.weight']
    assert torch.equal(rows[0], own[-1]) and torch.equal(rows[1:], own[:-1])
    assert torch.equal(official['sem_seg_head.predictor.class_embed.weight'], own)
    bias = torch.arange(4.)
    tao['model.sem_seg_head.predictor.class_embed.bias'] = bias
    assert TAO.to_ours(tao, model)['decoder.class_embed.bias'].tolist() == [1, 2, 3, 0]
    assert tao['criterion.empty_weight'].tolist() == [0.25, 1, 1, 1]
    assert official['criterion.empty_weight'].tolist() == [1, 1, 1, 0.25]


def old_official(state):
    """The first version's names, as in the model zoo."""
    return {name.replace('.pixel_decoder.', '.').replace('.query_feat.', '.static_query.'): value
            for name, value in state.items()}


def test_names_of_the_first_official_version(make_random):
    model = make_random()
    old = old_official(OFFICIAL.from_ours(model.state_dict(), model))
    assert {'sem_seg_head.input_proj.0.0.weight', 'sem_seg_head.transformer.level_embed', 'sem_seg_head.layer_1.weight',
            'sem_seg_head.predictor.static_query.weight'} <= old.keys() and OFFICIAL.matches(old)
    assert equal(OFFICIAL.to_ours(old, model), model.state_dict())


def test_written_official_names_carry_their_version(make_random, tmp_path):
    model = make_random()
    torch.save(dict(model=OFFICIAL.from_ours(model.state_dict(), model)), tmp_path / 'model.pth')
    metadata = torch.load(tmp_path / 'model.pth', weights_only=True)['model']._metadata
    assert metadata['sem_seg_head'] == {'version': 2}
    assert load_weights(make_random(), tmp_path / 'model.pth').complete


def test_names_of_mmdetection_2_and_of_mmsegmentation(make_random):
    model = make_random('resnet')
    new = MMDET.from_ours(model.state_dict(), model)
    replaced = [(r'(_decoder\.layers\.\d+)\.cross_attn', r'\1.attentions.0'),
                (r'(_decoder\.layers\.\d+)\.self_attn', r'\1.attentions.1'),
                (r'(encoder\.layers\.\d+)\.self_attn', r'\1.attentions.0'),
                (r'(coder\.layers\.\d+)\.ffn', r'\1.ffns.0')]
    old = {}
    for name, value in new.items():
        for current, former in replaced:
            name = re.sub(current, former, name)
        old[name] = value
    assert 'panoptic_head.transformer_decoder.layers.0.attentions.1.attn.in_proj_weight' in old
    assert 'panoptic_head.pixel_decoder.encoder.layers.0.attentions.0.value_proj.weight' in old
    assert len(set(old) - set(new)) == 1 * (8 + 4) + 3 * (8 + 4)
    assert equal(MMDET.to_ours(old, model), model.state_dict())
    segmentation = {name.replace('panoptic_head.', 'decode_head.'): value for name, value in new.items()}
    assert MMDET.matches(segmentation) and equal(MMDET.to_ours(segmentation, model), model.state_dict())


def test_a_file_of_the_model_zoo(make_random, tmp_path):
    """Detectron2's files are plain pickles of arrays."""
    source, target = make_random('resnet'), make_random('resnet')
    arrays = {name: value.numpy() for name, value in
              old_official(OFFICIAL.from_ours(source.state_dict(), source)).items()}
    with open(tmp_path / 'model_final_94dc52.pkl', 'wb') as file:
        pickle.dump(dict(model=arrays, __author__='third_party', matching_heuristics=True), file)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.zero_()
    report = load_weights(target, tmp_path / 'model_final_94dc52.pkl')
    assert report.complete and report.layout == 'OfficialMask2FormerLayout'
    assert equal(target.state_dict(), source.state_dict())


def test_a_torn_file_of_the_model_zoo(make, tmp_path):
    path = tmp_path / 'model_final.pkl'
    path.write_bytes(pickle.dumps(dict(model={'a': [1.0] * 100}))[:50])
    with pytest.raises(ValueError, match=r'model_final\.pkl is torn or no pickle of weights'):
        load_weights(make(), path)


def test_a_checkpoint_of_tao(make_random, tmp_path):
    source, target = make_random('efficientvit'), make_random('efficientvit')
    state = TAO.from_ours(source.state_dict(), source)
    torch.save(dict(state_dict=state, tao_model='mask2former', epoch=3, **{'pytorch-lightning_version': '2.2'}),
               tmp_path / 'model_epoch_003_step_00100.pth')
    report = load_weights(target, tmp_path / 'model_epoch_003_step_00100.pth')
    assert report.complete and report.layout == 'TAOMask2FormerLayout'
    assert equal(target.state_dict(), source.state_dict())


@pytest.mark.parametrize('layout', LAYOUTS, ids=layout_id)
def test_other_classes_and_queries_are_dropped_and_said(make_random, layout):
    source, target = make_random(num_classes=5, num_queries=12), make_random()
    report = load_weights(target, layout.from_ours(source.state_dict(), source))
    dropped = {'decoder.class_embed.weight', 'decoder.class_embed.bias', 'decoder.query_feat.weight',
               'decoder.query_embed.weight'}
    assert {name for name, *_ in report.mismatched} == dropped and not report.missing and not report.unexpected
    assert 'dropped, other shape: decoder.class_embed.weight: (6, 32) in the file, (4, 32) in the model' in (
        report.summary())


def test_other_windows_are_resized(make, make_random):
    source = make_random()
    target = make(whole_backbone=dict(BACKBONES['swin'], window_size=5))
    for layout in LAYOUTS:
        assert load_weights(target, layout.from_ours(source.state_dict(), source)).complete


def test_an_unknown_layout(make_random):
    model = make_random()
    state = {f'seg_head.{name}': value for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r'the given weights: only 0 of the \d+ tensors of Mask2Former are in it '
                                         r'.*The file has seg_head\.backbone.*Is it the checkpoint of another model'):
        load_weights(model, state)


def test_weights_of_another_model(make_random):
    """A backbone alone is too little; the names are the official ones all the same."""
    model = make_random('resnet')
    state = {name: value for name, value in OFFICIAL.from_ours(model.state_dict(), model).items()
             if name.startswith(('backbone.', 'sem_seg_head.predictor.query_feat'))}
    with pytest.raises(ValueError, match=r'at least 95% must be'):
        load_weights(model, state, min_matched=0.95)


@pytest.mark.parametrize('layout', [HF, HUB], ids=layout_id)
@pytest.mark.parametrize('options, message', [
    (dict(backbone='resnet'), r"transformers' Mask2Former has a Swin; the backbone of this model is a ResNet"),
    (dict(head_norm='LN'), r"has head_norm='GN'; this model's is LayerNorm2d")])
def test_models_that_transformers_does_not_have(make_random, layout, options, message):
    model = make_random(**options)
    with pytest.raises(ValueError, match=message):
        layout.from_ours(model.state_dict(), model)


@pytest.mark.parametrize('name, own', [
    ('sem_seg_head.pixel_decoder.transformer.encoder', 'pixel_decoder.encoder'),
    ('sem_seg_head.pixel_decoder.adapter_1', 'pixel_decoder.lateral'),
    ('model.sem_seg_head.pixel_decoder.layer_1.norm', 'pixel_decoder.output.norm'),
    ('sem_seg_head.predictor.decoder_norm', 'decoder.norm'),
    ('sem_seg_head.predictor.query_feat', 'decoder.query_feat'),
    ('sem_seg_head.predictor.transformer_ffn_layers.1.linear2', 'decoder.layers.1.linear2'),
    ('sem_seg_head.predictor.transformer_cross_attention_layers.0.multihead_attn', 'decoder.layers.0.cross_attn'),
    ('model.backbone', 'backbone')])
def test_official_parts_that_are_frozen(make, name, own):
    assert own_parts(name) == [own]
    frozen = {parameter for parameter, value in make(freeze=[name]).named_parameters()
              if not value.requires_grad and not parameter.startswith('backbone.')}
    always = {parameter for parameter, _ in make().named_parameters() if parameter.startswith(f'{own}.')}
    assert frozen == {parameter for parameter in always if not parameter.startswith('backbone.')}
    assert always
