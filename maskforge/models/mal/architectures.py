"""The backbones that ``model.arch`` names."""
import difflib
from collections.abc import Mapping

from maskforge.models.mal.compat import Compat


def _vit(embed_dim: int, depth: int, num_heads: int, patch_size: int = 16) -> dict:
    return dict(type='MALViT', embed_dim=embed_dim, depth=depth, num_heads=num_heads, patch_size=patch_size)


def _fan(embed_dim: int, depth: int, num_heads: int, **options) -> dict:
    return dict(type='FAN', embed_dim=embed_dim, depth=depth, num_heads=num_heads, **options)


# fan_small_12_p4_hybrid has 10 blocks and fan_large_16_p4_hybrid 22, whatever their names say
ARCHITECTURES: dict[str, dict] = {
    'vit-deit-tiny/16': _vit(192, 12, 3),
    'vit-deit-small/16': _vit(384, 12, 6),
    'vit-deit-base/16': _vit(768, 12, 12),
    'vit-mae-base/16': _vit(768, 12, 12),
    'vit-mae-large/16': _vit(1024, 24, 16),
    'vit-mae-huge/14': _vit(1280, 32, 16, 14),
    'fan_tiny_12_p16_224': _fan(192, 12, 4),
    'fan_small_12_p16_224': _fan(384, 12, 8),
    'fan_base_18_p16_224': _fan(448, 18, 8),
    'fan_large_24_p16_224': _fan(480, 24, 10),
    'fan_tiny_8_p4_hybrid': _fan(192, 8, 8, hybrid=True),
    'fan_small_12_p4_hybrid': _fan(384, 10, 8, hybrid=True),
    'fan_base_16_p4_hybrid': _fan(448, 16, 8, hybrid=True),
    # 3 and 5 ConvNeXt blocks give the 76.8 million parameters of the paper's table
    'fan_large_16_p4_hybrid': _fan(480, 22, 10, hybrid=True, hybrid_depths=(3, 5)),
}


def backbone_config(arch: str | None, overrides: Mapping | None, compat: Compat) -> dict:
    """Return the config of MODELS that ``model.arch`` and ``model.backbone`` ask for.

    Args:
        arch: a name of ``ARCHITECTURES``; None if ``overrides`` is a whole backbone.
        overrides: values that replace the architecture's; with another ``type`` a backbone of its own.

    Raises:
        ValueError: an unknown name (near ones are listed), or neither a name nor a type.
    """
    overrides = dict(overrides or {})
    if arch is None and 'type' not in overrides:
        raise ValueError('MAL: give model.arch, or model.backbone with a type.')
    base = {} if arch is None else _architecture(arch)
    if overrides.get('type', base.get('type')) != base.get('type'):
        base = {}
    if {**base, **overrides}['type'] == 'MALViT':
        base = {**base, 'patch_embed': compat.patch_embed, 'position_form': compat.position_form}
    return {**base, **overrides}


def _architecture(arch: str) -> dict:
    if arch not in ARCHITECTURES:
        near = difflib.get_close_matches(arch, ARCHITECTURES, n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else f'known: {", ".join(ARCHITECTURES)}.'
        raise ValueError(f"MAL: arch='{arch}' is unknown: {hint}")
    return ARCHITECTURES[arch]
