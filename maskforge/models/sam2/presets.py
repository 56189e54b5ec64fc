"""The four image encoders of the release: settings of the Hiera trunk (Ravi et al. 2024, appendix D.1)."""
import difflib
from collections.abc import Mapping
from typing import Any

#: what every trunk has unless it says otherwise
TRUNK_DEFAULTS = dict(embed_dim=96, num_heads=1, stages=(2, 3, 16, 3), global_att_blocks=(12, 16, 20),
                      window_spec=(8, 4, 14, 7), window_pos_embed_bkg_spatial_size=(14, 14))

ARCHITECTURES = dict(
    tiny=dict(embed_dim=96, num_heads=1, stages=(1, 2, 7, 2), global_att_blocks=(5, 7, 9),
              window_spec=(8, 4, 14, 7), window_pos_embed_bkg_spatial_size=(7, 7)),
    small=dict(embed_dim=96, num_heads=1, stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13),
               window_spec=(8, 4, 14, 7), window_pos_embed_bkg_spatial_size=(7, 7)),
    base_plus=dict(embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_att_blocks=(12, 16, 20),
                   window_spec=(8, 4, 14, 7), window_pos_embed_bkg_spatial_size=(14, 14)),
    large=dict(embed_dim=144, num_heads=2, stages=(2, 6, 36, 4), global_att_blocks=(23, 33, 43),
               window_spec=(8, 4, 16, 8), window_pos_embed_bkg_spatial_size=(7, 7)))


def trunk_settings(arch: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trunk by its name or from a dict of some of them.

    Raises:
        ValueError: an unknown name or setting, or settings that are not of four stages.
    """
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f"SAM2Network: arch='{arch}' is unknown; it is one of {', '.join(ARCHITECTURES)}, or a "
                             f'dict with {", ".join(TRUNK_DEFAULTS)}.')
        return dict(ARCHITECTURES[arch])
    for name in arch:
        if name not in TRUNK_DEFAULTS:
            near = difflib.get_close_matches(name, TRUNK_DEFAULTS, n=2, cutoff=0.4)
            raise ValueError(f"SAM2Network: arch has no setting '{name}'; it has {', '.join(near or TRUNK_DEFAULTS)}.")
    settings = {**TRUNK_DEFAULTS, **arch}
    for name in ('stages', 'window_spec'):
        if len(settings[name]) != 4 or min(settings[name]) < 1:
            raise ValueError(f'SAM2Network: arch.{name} has a number for each of the four stages, got '
                             f'{tuple(settings[name])}.')
    if settings['embed_dim'] % settings['num_heads']:
        raise ValueError(f'SAM2Network: arch.num_heads={settings["num_heads"]} must divide '
                         f'arch.embed_dim={settings["embed_dim"]}.')
    depth = sum(settings['stages'])
    if not set(settings['global_att_blocks']) <= set(range(depth)):
        raise ValueError(f'SAM2Network: arch.global_att_blocks={tuple(settings["global_att_blocks"])} names blocks '
                         f'that the trunk does not have; it has 0 .. {depth - 1}.')
    return settings
