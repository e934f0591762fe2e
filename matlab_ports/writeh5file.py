"""The authors' ``writeh5file.m``: write samples in memory to an HDF5 file, in full chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import atomic_path, report_write_errors, require_folder
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5


def writeh5file(
    count: int, chunksz: int, data: npt.ArrayLike, label: npt.ArrayLike, savepath: str | Path
) -> tuple[int, ...]:
    """Write ``/data`` and ``/label`` chunk by chunk; samples that do not fill a chunk are dropped.

    Parameters
    ----------
    count
        Number of samples to write.
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
        The arrays have other axes, the samples do not fill one chunk (with which the script fails too), or the file
        cannot be written.
    """
    path, samples, labels = Path(savepath), np.asarray(data), np.asarray(label)
    require_folder(path)
    for name, values, axes in (("data", samples, "H x W x C x N"), ("label", labels, "1 x N")):
        if values.ndim != len(axes.split(" x ")):
            problem = f"has shape {' x '.join(map(str, values.shape))}, expected {axes}"
            raise PortError(problem, code="shape-mismatch", field=name)
        if values.shape[-1] < count:
            problem = f"has {values.shape[-1]} samples, count asks for {count}"
            raise PortError(problem, code="wrong-count", field=name)
    if chunksz < 1 or count < chunksz:
        problem = f"{count} samples do not fill one chunk"
        raise PortError(problem, code="wrong-count", file=path, field="chunksz", value=chunksz)
    curr_dat_sz: tuple[int, ...] = (0,)
    size = 4 * count * (samples[..., 0].size + 1)
    with report_write_errors(path), atomic_path(path, size) as temporary, hdf5_file(temporary) as file:
        for batchno in range(count // chunksz):
            last_read = batchno * chunksz
            batch = slice(last_read, last_read + chunksz)
            startloc = {"dat": (1, 1, 1, last_read + 1), "lab": (1, last_read + 1)}
            curr_dat_sz, _ = store2hdf5(file, samples[..., batch], labels[..., batch], batchno == 0, startloc, chunksz)
    return curr_dat_sz
