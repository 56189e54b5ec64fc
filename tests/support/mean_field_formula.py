"""The mean field of MAL, pixel by pixel in float64."""
import math

import numpy as np


def by_the_formula(image, unary, box, *, kernel_size=3, num_iter=100, zeta=0.1, low=0.1, high=0.9, dilation=1):
    """The exact form, pixel by pixel in float64; returns the soft state of one crop."""
    image, unary, box = (np.asarray(value, np.float64) for value in (image, unary, box))
    side, reach = unary.shape[0], kernel_size // 2
    steps = [(dy * dilation, dx * dilation) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    state = np.clip(unary * box, low, high)
    for _ in range(num_iter):
        new = np.empty_like(state)
        for y in range(side):
            for x in range(side):
                inside = outside = 0.0
                for dy, dx in steps:
                    v, u = y + dy, x + dx
                    if 0 <= v < side and 0 <= u < side:
                        weight = math.exp(-((image[:, y, x] - image[:, v, u])**2).sum() / (2 * zeta**2))
                        inside += weight * math.log(state[v, u])
                        outside += weight * math.log(1 - state[v, u])
                f, g = box[y, x] * math.exp(inside), math.exp(outside)
                new[y, x] = min(max(f / (1e-6 + f + g), low), high)
        state = new
    return state
