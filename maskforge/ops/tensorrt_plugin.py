"""Deformable attention as one node of TensorRT's plugin library, for exported files.

The node has TensorRT's plugin name as operator type, ``MultiscaleDeformableAttnPlugin_TRT``, and its inputs in the
order of the plugin's documentation: value (B, S, H, D), spatial_shapes (L, 2) and level_start_index (L,) int32,
sampling_locations (B, Q, H, L, P, 2), attention_weights (B, Q, H, L, P); its output is (B, Q, H, D). The plugin takes
no parameters; the attributes name, plugin_version and plugin_namespace are what TensorRT's ONNX parser looks it up by.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from .deformable_attention import IMPLEMENTATIONS, LevelShapes, attention_implementation

PLUGIN_NAME = 'MultiscaleDeformableAttnPlugin_TRT'
PLUGIN_DOMAIN = 'nvidia'
PLUGIN_VERSIONS = ('1', '2')
_version: ContextVar[str] = ContextVar('version of the plugin', default='1')


@contextmanager
def attention_as_plugin(version: str = '1') -> Iterator[None]:
    """Write every deformable attention inside the ``with`` block as a plugin node while TorchScript exports.

    Args:
        version: of the plugin: '1' in every TensorRT with the plugin, '2' (the same interface) from 10.11 on.

    Raises:
        ValueError: another version.
    """
    if version not in PLUGIN_VERSIONS:
        raise ValueError(f'plugin_version={version!r} is not one of {", ".join(PLUGIN_VERSIONS)}.')
    token = _version.set(version)
    try:
        with attention_implementation('tensorrt_plugin'):
            yield
    finally:
        _version.reset(token)


class _PluginNode(torch.autograd.Function):
    """Computes by grid sampling; in a TorchScript trace it leaves the plugin's node."""

    @staticmethod
    def forward(ctx, value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor,
                version: str) -> Tensor:
        sizes = [tuple(size) for size in shapes.tolist()]
        found = IMPLEMENTATIONS['grid_sample'](value, sizes, locations, weights)
        return found.reshape(*found.shape[:2], *value.shape[2:])

    @staticmethod
    def symbolic(graph, value, shapes, starts, locations, weights, version):
        """The node, with the output's type so that what follows keeps its shapes."""
        node = graph.op(f'{PLUGIN_DOMAIN}::{PLUGIN_NAME}', value, shapes, starts, locations, weights,
                        name_s=PLUGIN_NAME, plugin_version_s=version, plugin_namespace_s='')
        whole, queries = value.type().varyingSizes(), locations.type().varyingSizes()
        if whole is not None and queries is not None:
            node.setType(value.type().with_sizes([whole[0], queries[1], *whole[2:]]))
        return node


def _by_plugin(value: Tensor, level_shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    shapes = _int32_shapes(level_shapes, value.device)
    areas = shapes[:, 0] * shapes[:, 1]
    starts = (areas.cumsum(0) - areas).to(torch.int32)
    found = _PluginNode.apply(value, shapes, starts, locations, weights, _version.get())
    return found.flatten(-2)


def _int32_shapes(level_shapes: LevelShapes, device: torch.device) -> Tensor:
    """(L, 2) int32; sizes that a tracer follows stay connected to the input."""
    rows = [torch.stack([torch.as_tensor(side, device=device) for side in shape]) for shape in level_shapes]
    return torch.stack(rows).to(torch.int32)


IMPLEMENTATIONS['tensorrt_plugin'] = _by_plugin
