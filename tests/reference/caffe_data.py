"""The steps of Caffe 1.0's data layers on a picture, written down pixel by pixel from the facts, with nothing of the product.

Facts: BVLC Caffe 9b89154, data_transformer.cpp and util/rng.hpp; the Mersenne twister and uniform_int as their papers and
Boost.Random's documentation give them.
"""

import numpy as np

F = np.float32


class Twister:
    """mt19937, number by number."""

    def __init__(self, seed):
        self.words = [seed % 2**32]
        for i in range(1, 624):
            before = self.words[-1]
            self.words.append((1812433253 * (before ^ (before >> 30)) + i) % 2**32)
        self.at = 624

    def __call__(self):
        if self.at == 624:
            self.twist()
        y = self.words[self.at]
        self.at += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C5680
        y ^= (y << 15) & 0xEFC60000
        return y ^ (y >> 18)

    def twist(self):
        w = self.words
        for i in range(624):
            y = (w[i] & 0x80000000) | (w[(i + 1) % 624] & 0x7FFFFFFF)
            w[i] = w[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
        self.at = 0

    def up_to(self, limit):
        """A whole number from 0 to `limit`: equal buckets, and another try beyond the last one."""
        if limit == 0:
            return 0
        bucket = 2**32 // (limit + 1)
        while True:
            value = self() // bucket
            if value <= limit:
                return value


def shuffled(items, rng):
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = rng.up_to(i)
        items[i], items[j] = items[j], items[i]
    return items


def transformed(picture, rng, *, train, crop=0, mirror=False, scale=1.0, mean=None, values=()):
    """A picture [channels][rows][columns] as the transformer leaves it; draws from `rng` what Caffe draws."""
    channels, rows, columns = picture.shape
    flip = bool(mirror) and rng() % 2 == 1
    high, wide, top, left = rows, columns, 0, 0
    if crop:
        high = wide = crop
        if train:
            top = rng() % (rows - crop + 1)
            left = rng() % (columns - crop + 1)
        else:
            top, left = (rows - crop) // 2, (columns - crop) // 2
    out = np.zeros((channels, high, wide), F)
    for c in range(channels):
        for h in range(high):
            for w in range(wide):
                value = F(picture[c, top + h, left + w])
                if mean is not None:
                    value = value - F(mean[c, top + h, left + w])
                elif values:
                    value = value - F(values[c if len(values) > 1 else 0])
                out[c, h, wide - 1 - w if flip else w] = value * F(scale)
    return out
