"""The face of each sampled frame of clips, as a net takes it, in HDF5 files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.errors import DataError
from caffe_compat.formats.files import new_hdf5
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Progress
from lq_emotion.datasets.clips.table import Clip, ClipTable, frames_of
from lq_emotion.faces.face import FaceDetector, Image
from lq_emotion.nets.known.loading import Description
from lq_emotion.training.adapt.settings import FacesFound
from lq_emotion.training.adapt.targets import Doubles, Singles, Target

_FILE_BYTES = 1 << 27  # HDF5Data reads one file into memory


def largest_face(model: Description, detector: FaceDetector, image: Image) -> Singles | None:
    """Return the largest face of an image as the net takes it, (channels, height, width); None without a face."""
    faces = detector([image])[0]
    if not faces:
        return None
    face = max(faces, key=lambda face: face.width * face.height)
    return model.preprocessing(model.crop.cut(image, face))


def write_faces(
    table: ClipTable,
    partition: str,
    target: Target,
    folder: Path,
    *,
    face_in: Callable[[Image], Singles | None],
    rate: float,
    progress: Progress,
) -> FacesFound:
    """Write the faces of a partition to ``PARTITION_N.h5`` with their list, ``PARTITION.txt``; at least one is needed.

    `face_in` returns the face in a frame as the net takes it; `rate` is the number of frames of a second of video. A
    file has data (N, channels, height, width) and label (N, 1 or k), float32; value, the labels in the table's units;
    clip (N,), the row of the table from 0; and time (N,) in seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    samples: list[tuple[Singles, Doubles, int, float]] = []
    frames = without = 0
    faceless: list[str] = []

    def flush() -> None:
        paths.append(folder / f"{partition}_{len(paths)}.h5")
        _write(samples, target, paths[-1])
        samples.clear()

    for row, clip in enumerate(table.clips):
        if clip.partition != partition:
            continue
        faces = 0
        for time, image, values in _labelled(table, clip, rate):
            frames += 1
            face = face_in(image)
            if face is None:
                without += 1
                continue
            faces += 1
            samples.append((face, target.values(values), row, time))
            if len(samples) * face.nbytes >= _FILE_BYTES:
                flush()
        if not faces:
            faceless.append(clip.name)
        progress(1)
    if samples:
        flush()
    if not paths:
        problem = f"no face with a label in the clips of {partition}: {frames} frames looked at"
        raise DataError(problem, code="empty", file=table.path, field="partition", value=partition)
    write_list(paths, folder / f"{partition}.txt")
    return FacesFound(frames, without, tuple(faceless), tuple(path.name for path in paths))


def read_faces(folder: Path, faces: FacesFound) -> Iterator[tuple[Singles, Doubles]]:
    """Yield data and values of each file that `write_faces` wrote."""
    for name in faces.files:
        with h5py.File(folder / name, "r") as file:
            yield file["data"][:], file["value"][:]


def _labelled(table: ClipTable, clip: Clip, rate: float) -> Iterator[tuple[float, Image, Doubles]]:
    for time, image in frames_of(clip, rate):
        values = table.labels(clip, [time])
        if np.isfinite(values).all():
            yield time, image, values


def _write(samples: Sequence[tuple[Singles, Doubles, int, float]], target: Target, path: Path) -> None:
    faces, values, clips, times = zip(*samples, strict=True)
    stacked = np.concatenate(values)
    arrays = {
        "data": np.stack(faces),
        "label": target.learned(stacked),
        "value": stacked,
        "clip": np.array(clips, np.int64),
        "time": np.array(times, np.float64),
    }

    def fill(file: h5py.File) -> None:
        for name, array in arrays.items():
            file[name] = array

    with new_hdf5(path) as writer:
        writer.do(fill)
