"""Shipped configs at toy size: thin models, small images and the drawn data in the place of the config's."""
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

TOY_SIDE = 96
SIZE_KEYS = ('scale', 'scales', 'crop_size', 'size')
CLIP_SIDE = 64
VIDEO_SOURCES = ('PNGRawDataset', 'JSONRawDataset')
TOY_FRAMES = 3
COCO_DATASETS = ('CocoDataset', 'CityscapesDataset', 'VOCDataset', 'CocoSourcesDataset')
KEPT = ('pipeline', 'filter_cfg', 'test_mode', 'min_box_side', 'label_mode', 'num_classes')
DETR_SIZES = dict(scales=(64, 80), random_resize_max_size=TOY_SIDE, train_random_resize=(64, ),
                  train_random_crop_min=48, train_random_crop_max=64)
SCENE_SIZES = dict(
    SegmentationTrainTransform=dict(train_min_size=[64, 80], train_max_size=TOY_SIDE, train_crop_size=(64, 64)),
    SegmentationTestTransform=dict(test_min_size=64, test_max_size=TOY_SIDE))
BOX_SETTINGS = ('load_mask', 'test_mode', 'crop_size', 'resample', 'margin_rate', 'test_margin_rate')


def num_classes_of(cfg: Config) -> int:
    """How many categories the drawn data needs for the config's model."""
    model = cfg.model
    by_id = any(node.get('label_mode') == 'category_id' for node in walk(cfg._cfg_dict))
    return model.roi_head.bbox_head.num_classes if 'roi_head' in model else model.get('num_classes', 2) - by_id


def shrink(cfg: Config, root: Path) -> None:
    """In place: no downloads, thin layers, small images, data from ``root`` (and ``root/scenes``)."""
    model = cfg._cfg_dict['model']
    THIN[model['type']](model)
    for node in walk(cfg._cfg_dict):
        if 'init_cfg' in node:
            node['init_cfg'] = None
        if node.get('pretrained') is True:
            node['pretrained'] = False
        node.update({key: _toy_scale(node[key]) for key in SIZE_KEYS if key in node})
        if node.get('type') in COCO_DATASETS:
            kept = {key: node[key] for key in KEPT if key in node}
            node.clear()
            node.update(kept, type='CocoDataset', ann_file=str(root / 'annotations.json'),
                        data_prefix=dict(img=str(root)))
        if node.get('type') == 'DETRTrainTransform':
            node.update(DETR_SIZES)
        if node.get('type') == 'DETRTestTransform':
            node.update(test_random_resize=64, random_resize_max_size=TOY_SIDE)
        if node.get('type') in SCENE_SIZES:
            node.update(SCENE_SIZES[node['type']])
        if node.get('type') in SCENES:
            kept = {key: node[key] for key in (*KEPT, 'type') if key in node}
            node.clear()
            node.update(kept, data_root=str(root / 'scenes'),
                        **SCENES[kept['type']]('val' if kept.get('test_mode') else 'train'))
        # square clips
        node.update({key: CLIP_SIDE for key in ('sizes', 'image_size') if key in node})
        if node.get('type') in VIDEO_SOURCES:
            node.clear()
            node.update(type='PNGRawDataset', data_root=str(root / 'videos'), img_folder='JPEGImages',
                        gt_folder='Annotations')
        if node.get('type') == 'SA1BRawDataset':
            node.clear()
            node.update(type='CocoRawDataset', dataset=dict(type='CocoDataset'))
        if node.get('type') == 'RandomUniformSampler':
            node.update(num_frames=min(node['num_frames'], TOY_FRAMES))
        if node.get('type') == 'BoxCropDataset':
            kept = {key: node[key] for key in BOX_SETTINGS if key in node}
            node.clear()
            node.update(kept, type='BoxCropDataset', ann_file=str(root / 'annotations.json'), min_obj_size=4,
                        data_prefix=dict(img=str(root)))


#: files of a split that ``draw_shapes`` writes
SCENES: dict[str, Callable[[str], dict]] = {
    'CocoPanopticDataset': lambda split: dict(ann_file=f'annotations/panoptic_{split}.json',
                                              data_prefix=dict(img=split, panoptic=f'panoptic_{split}')),
    'SemanticJsonlDataset': lambda split: dict(ann_file=f'annotations/semantic_{split}.jsonl',
                                               label_map='annotations/semantic_classes.json')}


def walk(node: Any) -> Iterator[dict]:
    """Every dict below ``node``, itself included."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from walk(child)


def _toy_scale(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_toy_scale(item) for item in value)
    return TOY_SIDE if isinstance(value, int) and value > TOY_SIDE else value


def _thin_rcnn(model: dict) -> None:
    """An eighth of the channels; depths, strides and the number of parts stay."""
    if model['backbone']['type'] == 'ResNet':
        model['backbone']['base_channels'] = model['backbone'].get('base_channels', 64) // 8
        model['neck']['in_channels'] = [channels // 8 for channels in model['neck']['in_channels']]
    for node in walk(model):
        for key, value in node.items():
            if key.endswith('_channels') and value in (256, 1024):
                node[key] = 32


def _thin_mal(model: dict) -> None:
    """Two blocks of width 48; one architecture stays, which of them is tested with the model."""
    model['backbone'] = dict(model.get('backbone') or {}, embed_dim=48, depth=2, num_heads=4)
    model.update(mask_head_hidden_channel=24, mask_head_out_channel=16, crf_num_iter=3)


def _thin_detr(model: dict) -> None:
    """Two layers each way, 32 channels, 20 queries; levels, refinement and stages stay."""
    model.update(hidden_dim=32, nheads=2, enc_layers=2, dec_layers=2, dim_feedforward=32, num_queries=20)
    backbone = model['backbone']
    backbone.update(dict(base_channels=8) if backbone['type'] == 'ResNet' else dict(
        embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2)))


def _thin_mask2former(model: dict) -> None:
    """One encoder and three decoder layers, 32 channels, 20 queries; stages, losses and modes stay."""
    model.update(hidden_dim=32, mask_dim=16, nheads=2, enc_layers=1, enc_feedforward=32, dec_layers=3,
                 dim_feedforward=32, num_queries=20, num_points=64)
    model['backbone'].update(THIN_BACKBONES[model['backbone']['type']])


def _thin_sam2(model: dict) -> None:
    """Seven blocks of width 8, 32 channels, one correction; flags, prompts and frozen parts stay."""
    model['network'].update(
        arch=dict(embed_dim=8, num_heads=1, stages=(1, 2, 3, 1), global_att_blocks=(4,), window_spec=(8, 4, 4, 2),
                  window_pos_embed_bkg_spatial_size=(3, 3)),
        hidden_dim=32, memory_dim=8, memory_layers=1, memory_feedforward=16, decoder_heads=2, decoder_mlp=16)
    model['prompts'] = dict(model.get('prompts') or {}, num_correction_pt_per_frame=1)


THIN_BACKBONES: dict[str, dict] = dict(
    ResNet=dict(base_channels=8), SwinTransformer=dict(embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2)),
    EfficientViT=dict(widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head_dim=8))
# one entry a family
THIN: dict[str, Callable[[dict], None]] = {
    'MaskRCNN': _thin_rcnn, 'FasterRCNN': _thin_rcnn, 'MAL': _thin_mal, 'DeformableDETR': _thin_detr,
    'Mask2Former': _thin_mask2former, 'SAM2': _thin_sam2}
