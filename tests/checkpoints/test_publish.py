"""Checkpoints to give away: what stays in them, and other libraries' names."""
import copy
import hashlib

import pytest
import torch
from mmengine.config import Config
from tiny_detr import MODEL as TINY_DETR
from tiny_mal import MODEL as TINY_MAL
from tiny_mask2former import MODEL as TINY_MASK2FORMER
from tiny_rcnn import tiny_config
from tiny_sam2 import TINY as TINY_SAM2

from maskforge.checkpoints import load_checkpoint, load_weights, publish
from maskforge.cli import publish as verb
from maskforge.layers.lora import build_model

SAM2 = dict(type='SAM2', network=TINY_SAM2)
MODELS = dict(SAM2=SAM2, DeformableDETR=TINY_DETR, Mask2Former=TINY_MASK2FORMER, MAL=TINY_MAL, MaskRCNN=tiny_config())
CONTAINERS = dict(
    OfficialSAM2Layout='model', HuggingFaceSAM2Layout=None,
    OfficialDeformableDETRLayout='model', TAODeformableDETRLayout='state_dict', MMDetectionRCNNLayout='state_dict',
    HuggingFaceDeformableDETRLayout=None, HuggingFaceHubDeformableDETRLayout=None, TorchvisionRCNNLayout=None,
    MMDetectionDeformableDETRLayout='state_dict', OfficialMask2FormerLayout='model',
    TAOMask2FormerLayout='state_dict', MMDetectionMask2FormerLayout='state_dict', MALLayout='state_dict')


def of(layout: str) -> str:
    """The model that a layout is of."""
    return 'MaskRCNN' if 'RCNN' in layout else next(name for name in MODELS if name in layout)


def build(settings):
    torch.manual_seed(0)
    return build_model(copy.deepcopy(settings)).eval()


def checkpoint_of(settings, path):
    """A checkpoint of a run."""
    model = build(settings)
    meta = dict(cfg=Config(dict(model=settings, default_scope='maskforge')).pretty_text, epoch=3,
                dataset_meta=dict(classes=('a', 'b', 'c')), experiment_name='of_nobody_else')
    torch.save(dict(meta=meta, state_dict=model.state_dict(), optimizer=dict(state={}), message_hub={}), path)
    return model


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_weights_and_meta_alone(suffix, tmp_path, capsys):
    model = checkpoint_of(SAM2, tmp_path / 'run.pth')
    assert verb.main([str(tmp_path / 'run.pth'), str(tmp_path / f'sam2{suffix}')]) == 0
    written, = tmp_path.glob(f'sam2-*{suffix}')
    assert f'{written} written' in capsys.readouterr().out
    assert written.stem == f'sam2-{hashlib.sha256(written.read_bytes()).hexdigest()[:8]}'
    found = load_checkpoint(written)
    if suffix == '.pth':
        assert found.keys() == {'meta', 'state_dict'}
        assert found['meta'].keys() == {'cfg', 'epoch', 'dataset_meta'}
    other = build(SAM2)
    assert load_weights(other, written, min_matched=1.).complete
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(('layout', 'container'), CONTAINERS.items())
def test_public_layouts(layout, container, tmp_path):
    settings = MODELS[of(layout)]
    model = checkpoint_of(settings, tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / 'public.pth', layout=layout, model=model)
    file = torch.load(written, weights_only=True)
    if container is None:
        assert all(isinstance(value, torch.Tensor) for value in file.values())
    else:
        assert file.keys() == {'meta', container}
    with torch.no_grad():
        other = build(settings)
        for parameter in other.parameters():
            parameter.add_(1)
    report = load_weights(other, written)
    assert not report.mismatched and report.share > 0.98
    assert layout.startswith(('MMDetectionRCNN', 'MAL')) or report.layout == layout
    lost = ('num_batches_tracked', *report.missing)
    # projections of MMDetection have no bias
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items()
               if not name.endswith(lost) and not (layout.startswith('MMDetectionDef') and name.endswith('bias')))


def test_layout_by_the_command(tmp_path):
    """As the official release: its code reads ``torch.load(file)['model']``, strictly; additions are merged."""
    lora = dict(rank=2, targets=['*.attn.qkv'])
    model = checkpoint_of(dict(SAM2, lora=lora), tmp_path / 'run.pth')
    assert any('lora' in name for name in model.state_dict())
    assert verb.main([str(tmp_path / 'run.pth'), str(tmp_path / 'tuned.pt'), '--layout', 'OfficialSAM2Layout']) == 0
    weights = torch.load(next(tmp_path.glob('tuned-*.pt')), weights_only=True)['model']
    assert not [name for name in weights if 'lora' in name or name.startswith('network.')]
    assert 'image_encoder.trunk.blocks.0.mlp.layers.0.weight' in weights


@pytest.mark.parametrize(('layout', 'told'), [
    ('OfficialSAM2', r"no layout 'OfficialSAM2'; did you mean OfficialSAM2Layout\? SAM2 has HuggingFaceSAM2Layout, "
                     r'OfficialSAM2Layout\.'),
    ('MALLayout', r'MALLayout is a layout of MAL; SAM2 has HuggingFaceSAM2Layout, OfficialSAM2Layout\.'),
    ('zzz', r"no layout 'zzz'\. SAM2 has"),
])
def test_layouts_that_are_not_there(layout, told, tmp_path):
    model = checkpoint_of(SAM2, tmp_path / 'run.pth')
    with pytest.raises(ValueError, match=told):
        publish(tmp_path / 'run.pth', tmp_path / 'public.pth', layout=layout, model=model)
    assert not list(tmp_path.glob('public*'))
