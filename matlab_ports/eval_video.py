"""The authors' ``eval_video.m``: a net's prediction for every frame of a recording.

matcaffe hands MATLAB's memory to Caffe as it lies, so a frame's columns are the net's rows: the net sees every frame
**transposed**, as it saw them in training (see `matlab_ports.store2hdf5`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.store2hdf5 import to_hdf5_axes

Double = npt.NDArray[np.float64]
FEATURE = "fc4"  # the blob the script keeps where save_feature is set


class Net(Protocol):
    """What predicts: a net of any framework."""

    def forward(self, batch: npt.NDArray[np.float32], /) -> Mapping[str, npt.NDArray[Any]]:
        """Run on a batch.

        Parameters
        ----------
        batch : (n, 1, W, H), Caffe's order: transposed pictures.

        Returns
        -------
        Blobs by name, samples first. The net's output comes first; fc4 is among them where features are asked for.
        """
        ...


@runtime_checkable
class FrameSource(Protocol):
    """Frames that are read when they are needed, such as `matlab_ports.matfile.open_frames` gives."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, T)."""
        ...

    def take(self, indices: Any, /) -> npt.NDArray[Any]:
        """Return frames (H, W, n) of the given numbers, counted from 0."""
        ...


class Output(NamedTuple):
    """What the net said.

    Attributes
    ----------
    results : (T,), MATLAB's 1 x T row: the first value of the net's first output for every frame.
    feature : (300, T), blob fc4 in columns, or None.
    """

    results: Double
    feature: Double | None


def eval_video(
    data: npt.NDArray[Any] | FrameSource,
    net: Net,
    save_feature: bool = False,  # noqa: FBT001, FBT002 (the script's order)
    *,
    batch: int = 64,
    seen: Callable[[int], object] = lambda _: None,
) -> Output:
    """Predict every frame.

    Parameters
    ----------
    data
        (H, W, T) in MATLAB's order, or a source of such frames; single, as the net is.
    net
        See `Net`.
    save_feature
        Keep blob fc4 as well.
    batch
        Frames handed to the net at once; the script hands them over one by one.
    seen
        Called with the number of frames done since the last call.

    Returns
    -------
    Output

    Raises
    ------
    PortError
        `data` has other axes, or the net does not give one output for every frame.
    """
    shape = tuple(data.shape)
    if len(shape) == 2:  # MATLAB drops trailing axes of one
        shape = (*shape, 1)
        data = np.asarray(data)[:, :, None]
    if len(shape) != 3 or 0 in shape:
        raise PortError(f"{' x '.join(map(str, shape))} are no frames", where="data", hint="H x W x T are expected")
    if batch < 1:
        raise PortError(f"{batch} is not a positive whole number", where="batch")
    count = shape[2]
    results = np.empty(count)
    features = []
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        frames = data[:, :, start : numbers.stop] if isinstance(data, np.ndarray) else data.take(numbers)
        blobs = net.forward(to_hdf5_axes(frames)[:, None])
        results[start : numbers.stop] = _rows(next(iter(blobs.values()), None), len(numbers), "the net's output")[:, 0]
        if save_feature:
            features.append(_rows(blobs.get(FEATURE), len(numbers), f"blob {FEATURE}").T.astype(np.float64))
        seen(len(numbers))
    return Output(results, np.concatenate(features, axis=1) if features else None)


def _rows(blob: npt.NDArray[Any] | None, count: int, what: str) -> npt.NDArray[Any]:
    if blob is None:
        raise PortError(f"{what} is missing", where="net")
    if blob.shape[:1] != (count,) or not blob.size:
        raise PortError(f"{what} has the shape {blob.shape} for {count} frames", where="net")
    return blob.reshape(count, -1)
