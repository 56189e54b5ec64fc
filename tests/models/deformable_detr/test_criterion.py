import sys

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as processes
from mmengine import MessageHub
from mmengine.structures import InstanceData

from maskforge.models.deformable_detr import SetPredictions
from maskforge.models.deformable_detr.criterion import DeformableDETRCriterion
from maskforge.structures import DetDataSample

SHAPE, CLASSES = (80, 100), 4


def predictions(images: int = 2, layers: int = 3, *, encoder: bool = False, requires_grad: bool = False):
    torch.manual_seed(0)
    boxes = [torch.rand(layers, images, 6, 4) * 0.4 + 0.2, torch.rand(images, 9, 4) * 0.4 + 0.2]
    logits = [torch.randn(layers, images, 6, CLASSES), torch.randn(images, 9, CLASSES)]
    tensors = [logits[0], boxes[0], *((logits[1], boxes[1]) if encoder else ())]
    return SetPredictions(*(tensor.requires_grad_(requires_grad) for tensor in tensors))


def sample(boxes: list, labels: list) -> DetDataSample:
    found = DetDataSample(metainfo=dict(img_shape=SHAPE))
    found.gt_instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4).float(),
                                      labels=torch.tensor(labels, dtype=torch.long))
    return found


FULL = [sample([[10, 10, 40, 60], [50, 20, 90, 70]], [1, 3]), sample([[5, 5, 30, 30]], [0])]
EMPTY = sample([], [])


def test_names_of_all_layers_and_of_the_log():
    found = DeformableDETRCriterion()(predictions(encoder=True), FULL)
    suffixes = ('', '_0', '_1', '_enc')
    assert set(found) == {f'{name}{suffix}' for name in ('loss_ce', 'loss_bbox', 'loss_giou') for suffix in suffixes
                          } | {'class_error', 'cardinality_error'}


def test_log_values_by_hand():
    logits = torch.full((1, 1, 6, CLASSES), -5.)
    boxes = torch.tensor([0.9, 0.9, 0.05, 0.05]).repeat(1, 1, 6, 1)
    boxes[0, 0, 0], boxes[0, 0, 1] = torch.tensor([0.25, 0.4375, 0.3, 0.625]), torch.tensor([0.7, 0.5625, 0.4, 0.625])
    logits[0, 0, 0, 1] = logits[0, 0, 1, 2] = 4.  # the first target's class is right, the second's wrong
    logits[0, 0, 2:, 0] = 1.
    found = DeformableDETRCriterion(set_cost_class=0)(SetPredictions(logits, boxes), FULL[:1])
    assert found['class_error'].item() == 50 and found['cardinality_error'].item() == 4
    assert found['loss_bbox'].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('samples', [[EMPTY, EMPTY], [EMPTY, FULL[0]]], ids=['no boxes', 'an empty image'])
def test_images_without_boxes(samples):
    given = predictions(encoder=True, requires_grad=True)
    found = DeformableDETRCriterion()(given, samples)
    sum(value for name, value in found.items() if name.startswith('loss')).backward()
    for tensor in (given.logits, given.boxes_cxcywh, given.encoder_logits, given.encoder_boxes_cxcywh):
        assert tensor.grad.isfinite().all()
    assert (found['loss_bbox'] == 0) == (samples[1] is EMPTY) and found['loss_ce'] > 0


def test_ignored_boxes_take_no_part():
    with_ignored = sample([[10, 10, 40, 60], [50, 20, 90, 70]], [1, 3])
    with_ignored.ignored_instances = InstanceData(bboxes=torch.rand(3, 4), labels=torch.tensor([0, 1, 2]))
    criterion = DeformableDETRCriterion()
    want, found = (criterion(predictions(), [first, FULL[1]]) for first in (FULL[0], with_ignored))
    assert all(found[name] == value for name, value in want.items())


def test_boxes_are_parts_of_the_unpadded_image():
    """The same box in an image of twice the size is another target."""
    other = sample([[20, 20, 80, 120]], [1])
    other.set_metainfo(dict(img_shape=(160, 200)))
    criterion, given = DeformableDETRCriterion(), predictions(images=1)
    want, found = criterion(given, [sample([[10, 10, 40, 60]], [1])]), criterion(given, [other])
    assert all(found[name].item() == pytest.approx(value.item()) for name, value in want.items())


@pytest.mark.parametrize(('place', 'expected'), [
    ('boxes_cxcywh',
     'matching for loss_ce, loss_bbox, loss_giou at iteration 12: the costs of decoder layer 1, image 0'),
    ('logits', 'costs of decoder layer 1, image 0'), ('encoder_boxes_cxcywh', 'costs of encoder layer 0, image 1'),
    ('encoder_logits', 'costs of encoder layer 0, image 1')])
def test_nan_names_losses_layer_and_iteration(place, expected):
    given = predictions(encoder=True)
    getattr(given, place)[1, 0] = torch.nan
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 11)
    try:
        with pytest.raises(FloatingPointError, match=expected):
            DeformableDETRCriterion()(given, FULL)
    finally:
        hub.runtime_info.pop('iter')


def test_nan_under_float16_is_left_to_the_loss_scaler(monkeypatch):
    said = []
    monkeypatch.setattr('maskforge.losses.matching.print_log', lambda text, *_: said.append(text))
    given = predictions()
    given.boxes_cxcywh[0, 0, 0] = torch.nan
    with torch.autocast('cpu', dtype=torch.float16):
        found = DeformableDETRCriterion()(given, FULL)
    assert len(said) == 1 and 'decoder layer 0' in said[0]
    assert all(value.isfinite() for value in found.values())  # five other queries had finite costs


@pytest.mark.parametrize('label', [-1, CLASSES])
def test_labels_beyond_the_heads(label):
    with pytest.raises(ValueError, match=f'labels from {label} to {label} do not fit num_classes={CLASSES}'):
        DeformableDETRCriterion()(predictions(images=1), [sample([[0, 0, 5, 5]], [label])])


def _gradients(given: SetPredictions, samples: list) -> list[torch.Tensor]:
    found = DeformableDETRCriterion()(given, samples)
    total = sum(value for name, value in found.items() if name.startswith('loss'))
    return list(torch.autograd.grad(total, (given.logits, given.boxes_cxcywh)))


def _rank(rank: int, folder: str) -> None:
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    full = predictions(requires_grad=True)
    own = SetPredictions(full.logits[:, rank:rank + 1], full.boxes_cxcywh[:, rank:rank + 1])
    torch.save(_gradients(own, FULL[rank:rank + 1]), f'{folder}/{rank}.pt')
    torch_dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_mean_over_two_processes_equals_one(tmp_path):
    """With two targets on one process and one on the other."""
    processes.spawn(_rank, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for both, want in zip(zip(*parts), _gradients(predictions(requires_grad=True), FULL)):
        # DistributedDataParallel takes the mean of the processes
        torch.testing.assert_close(torch.cat(both, 1) / 2, want)
