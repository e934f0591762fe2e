"""The authors' ``eval_video.m``: predict every frame of a recording with a net.

matcaffe hands MATLAB's memory to Caffe unchanged, so a frame's columns become the net's rows: the net sees every frame
**transposed**, as in training (see `matlab_ports.store2hdf5`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.store2hdf5 import to_hdf5_axes

Double = npt.NDArray[np.float64]
FEATURE = "fc4"  # the blob that the script saves with save_feature


class Net(Protocol):
    """A net of any framework."""

    def forward(self, batch: npt.NDArray[np.float32], /) -> Mapping[str, npt.NDArray[Any]]:
        """Run the net on a batch.

        Parameters
        ----------
        batch : (n, 1, W, H), transposed frames in Caffe's order.

        Returns
        -------
        Blobs by name, samples first. The first blob is the net's output; fc4 is among them if features are requested.
        """
        ...


@runtime_checkable
class FrameSource(Protocol):
    """Frames that are read on demand, such as those of `matlab_ports.matfile.open_frames`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, T)."""
        ...

    def take(self, indices: Any, /) -> npt.NDArray[Any]:
        """Return the frames (H, W, n) with the given 0-based indices."""
        ...


class Output(NamedTuple):
    """The net's predictions.

    Attributes
    ----------
    results : (T,), 1 x T in MATLAB: the first value of the net's first output for every frame.
    feature : (300, T), blob fc4 of every frame as a column, or None.
    outputs : (T, k), all values of the net's first output for every frame.
    """

    results: Double
    feature: Double | None
    outputs: Double


def eval_video(
    data: npt.NDArray[Any] | FrameSource,
    net: Net,
    save_feature: bool = False,  # noqa: FBT001, FBT002 (the script's order)
    *,
    batch: int = 64,
    progress: Callable[[int], object] = lambda _: None,
) -> Output:
    """Predict every frame of a recording.

    Parameters
    ----------
    data
        (H, W, T) in MATLAB's order, or a source of such frames; single, as the net is.
    net
        See `Net`.
    save_feature
        Return blob fc4 too.
    batch
        Frames per forward pass; 1 in the script.
    progress
        Called with the number of frames predicted since the last call.

    Returns
    -------
    Output

    Raises
    ------
    PortError
        `data` has other axes, or the net does not return one output per frame.
    """
    shape = tuple(data.shape)
    if len(shape) == 2:  # MATLAB drops trailing axes of one
        shape = (*shape, 1)
        data = np.asarray(data)[:, :, None]
    if len(shape) != 3 or 0 in shape:
        problem = f"has shape {' x '.join(map(str, shape))}, expected H x W x T"
        raise PortError(problem, code="shape-mismatch", field="data")
    if batch < 1:
        raise PortError("must be at least 1", code="out-of-range", field="batch", value=batch)
    count = shape[2]
    outputs, features = [], []
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        frames = data[:, :, start : numbers.stop] if isinstance(data, np.ndarray) else data.take(numbers)
        blobs = net.forward(to_hdf5_axes(frames)[:, None])
        outputs.append(_rows(next(iter(blobs.values()), None), len(numbers), "output").astype(np.float64))
        if save_feature:
            features.append(_rows(blobs.get(FEATURE), len(numbers), FEATURE).T.astype(np.float64))
        progress(len(numbers))
    every = np.concatenate(outputs)
    return Output(every[:, 0].copy(), np.concatenate(features, axis=1) if features else None, every)


def _rows(blob: npt.NDArray[Any] | None, count: int, name: str) -> npt.NDArray[Any]:
    if blob is None:
        raise PortError("the net returns no such blob", code="field-missing", field=name)
    if blob.shape[:1] != (count,) or not blob.size:
        problem = f"the net returns shape {blob.shape} for {count} frames"
        raise PortError(problem, code="shape-mismatch", field=name)
    return blob.reshape(count, -1)
