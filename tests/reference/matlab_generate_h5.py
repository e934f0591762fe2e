"""A slow transcription of `matlab_ports.generate_h5`: the script's steps one after the other on arrays in memory.

Works on lists of (video, valence), video H x W x T; returns what h5py shows. Octave's run of the original agrees with
it on the recorded inputs.
"""

import math

import numpy as np

from tests.reference.matlab_imresize import imresize


def stream(seed=0, skip=0):
    state = np.random.RandomState(seed or 5489)
    state.random_sample(skip)
    return state


def degrade(picture, factor):
    size = picture.shape
    small = tuple(math.ceil(n * (1 / factor)) for n in size)
    shrunk = imresize(picture, (1 / factor,) * 2, small, "bicubic", True)
    return imresize(shrunk, tuple(a / b for a, b in zip(size, small, strict=True)), size, "bicubic", True)


def joined(recordings, size, mode):
    """The script's first loop, 1-based as there; an array grows with zeros as in MATLAB."""
    channels = 3 if mode == "multi" else 1
    total = sum(video.shape[2] for video, _ in recordings)
    data, label = np.zeros((size, size, total, channels)), np.zeros(total)
    used = count = 0
    for video, valence in recordings:
        frames = video.shape[2]
        for channel in range(channels):
            part = video[:, :, channel : frames - (channels - 1 - channel)]
            data[:, :, count : count + part.shape[2], channel] = part
            if part.shape[2]:
                used = max(used, count + part.shape[2])
        label[count : count + frames] = valence
        count += frames
    return data, label, used


def generate_h5(
    recordings,
    size,
    chunksz,
    state,
    *,
    mode="single",
    mix=False,
    mix_lr=(3, 4, 6),
    augmentation=False,
    mean_sub=False,
    norm=False,
):
    """Data and label, float32, as in the file; multi is one file, with the zero triplets at the end made up for."""
    data, label, used = joined(recordings, size, mode)
    count = len(label)
    if mix:
        for n in range(count):  # data(:,:,n) of H x W x used x channels
            slot, channel = n % used, n // used
            factor = mix_lr[math.ceil(len(mix_lr) * state.random_sample()) - 1]
            data[:, :, slot, channel] = degrade(data[:, :, slot, channel], factor)
    data = data.transpose(0, 1, 3, 2)
    order = np.argsort(state.random_sample(count), kind="stable")
    data, label = data[:, :, :, order], label[order]
    if augmentation:
        data = np.flip(data, 1)
    if mean_sub:
        data = data - math.fsum(data.ravel()) / data.size
    if norm:
        middle = math.fsum(data.ravel()) / data.size
        data = data / math.sqrt(math.fsum(((data - middle) ** 2).ravel()) / (data.size - 1))
    whole = count // chunksz * chunksz
    return data[..., :whole].T.astype(np.float32), label[:whole, None].astype(np.float32)
