"""What differs between this implementation's own way and the ways that released MAL weights were trained in."""
import dataclasses
import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Compat:
    """One choice per difference; the defaults are our own.

    Attributes:
        patch_embed: 'patch', so that MAE and DeiT weights load whole; 'conv_stem', what released weights have.
        position_form: resampling of position embeddings, 'size' or 'scale' (factors with 0.1 added).
        size_bins: 'half_open': small [0, 32²), medium [32², 96²), large from 96². 'open': an area of 0, 32² or 96²
            is in no bin and its logits are 0; the thresholds' bins are then closed at their upper ends.
        clip: where the mask is cut to the box: 'image', at the image's pixels; 'crop', on the crop's grid before the
            mask is resized, which leaves a rim of up to one crop pixel beyond the box.
        frozen_stages: 'list', every entry is a stage; 'range', the two ends of a range of stages.
        crf_kernel_image: colours of the mean field from the 'clean' crop or the 'student''s augmented one.
        mean_field: form of the mean field, 'logit' or 'exact'.
        warmup: 'run' warms the losses up over the run's first iterations; 'epoch' only as far as the first epoch
            reaches.
    """

    patch_embed: str = 'patch'
    position_form: str = 'size'
    size_bins: str = 'half_open'
    clip: str = 'image'
    frozen_stages: str = 'list'
    crf_kernel_image: str = 'clean'
    mean_field: str = 'logit'
    warmup: str = 'run'


REFERENCE = Compat(patch_embed='conv_stem', position_form='scale', size_bins='open', clip='crop',
                   frozen_stages='range', crf_kernel_image='student', mean_field='exact', warmup='epoch')
MODES = {
    'default': Compat(),
    'reference': REFERENCE,
    # TAO 6 took timm's ViT and read the frozen stages as a list
    'tao6': dataclasses.replace(REFERENCE, patch_embed='patch', position_form='size', frozen_stages='list'),
}


def read_compat(value: str | Compat) -> Compat:
    """Return the differences of ``model.compat``.

    Raises:
        ValueError: another mode; the message names the near one.
    """
    if isinstance(value, Compat):
        return value
    if value not in MODES:
        near = difflib.get_close_matches(str(value), MODES, n=1, cutoff=0.4)
        hint = f'did you mean {near[0]!r}?' if near else f'allowed: {", ".join(map(repr, MODES))}.'
        raise ValueError(f'MAL: compat={value!r} does not exist: {hint}')
    return MODES[value]
