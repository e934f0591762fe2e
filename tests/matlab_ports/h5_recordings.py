"""Recordings for HDF5 files, and readers of those files."""

import h5py
import numpy as np

from matlab_ports.matfile import FramesWriter

SIZE = 12
LENGTHS = (7, 2, 3, 11)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".made"))


def contents(path):
    with h5py.File(path) as file:
        return file["data"][:], file["label"][:]


def assert_same(arrays, expected):
    for a, b in zip(arrays, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def save(folder, recordings, version="-v6"):
    paths = []
    for number, (video, valence) in enumerate(recordings):
        paths.append(folder / f"{number}.mat")
        with FramesWriter(paths[-1], shape=video.shape, version=version, variables={"valence": valence}) as out:
            out.append(video)
    return paths


def recordings(lengths=LENGTHS, size=SIZE):
    rng = np.random.default_rng(0)
    return [(rng.random((size, size, length)), rng.random(length)) for length in lengths]
