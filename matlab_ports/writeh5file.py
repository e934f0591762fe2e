"""The authors' ``writeh5file.m``: full chunks of samples that are in memory, as an HDF5 file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.writing import atomic_path, clear_disk_errors, require_folder
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5


def writeh5file(
    count: int, chunksz: int, data: npt.ArrayLike, label: npt.ArrayLike, savepath: str | Path
) -> tuple[int, ...]:
    """Write ``/data`` and ``/label`` chunk by chunk; what does not fill a chunk is dropped.

    Parameters
    ----------
    count
        How many of the samples to write.
    chunksz
        Samples per chunk.
    data, label
        Samples last: (H, W, C, N) and (1, N).
    savepath
        The file, in a folder that exists. It appears complete or not at all.

    Returns
    -------
    tuple
        The size of ``/data`` in MATLAB's order.

    Raises
    ------
    PortError
        If the arrays have other axes, the samples do not fill one chunk (the script fails then, too) or the file cannot
        be written.
    """
    path, samples, labels = Path(savepath), np.asarray(data), np.asarray(label)
    require_folder(path)
    if samples.ndim != 4 or labels.ndim != 2:
        sizes = " and ".join(" x ".join(map(str, one.shape)) for one in (samples, labels))
        raise PortError(f"data and label are {sizes}", where=path, hint="H x W x C x N and 1 x N are expected")
    if chunksz < 1 or count < chunksz:
        raise PortError(f"{count} samples do not fill one chunk of {chunksz}", where=path)
    if min(samples.shape[-1], labels.shape[-1]) < count:
        raise PortError(f"count is {count}, but data is {samples.shape} and label {labels.shape}", where=path)
    curr_dat_sz: tuple[int, ...] = (0,)
    room = 4 * count * (samples[..., 0].size + 1)
    with clear_disk_errors(path), atomic_path(path, room) as temporary, hdf5_file(temporary) as file:
        for batchno in range(count // chunksz):
            last_read = batchno * chunksz
            batch = slice(last_read, last_read + chunksz)
            startloc = {"dat": (1, 1, 1, last_read + 1), "lab": (1, last_read + 1)}
            curr_dat_sz, _ = store2hdf5(file, samples[..., batch], labels[..., batch], batchno == 0, startloc, chunksz)
    return curr_dat_sz
