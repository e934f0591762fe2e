"""The authors' ``prepare_dataset.m``: crop the faces of recordings, gray, 96 x 96, with time and valence.

The rules are the script's:

* the table of frame times is read from its second line on; its second column is the time;
* one frame is read for every row, even if its face is not used;
* every time must occur among the times of boxes and labels, exactly equal; an error lists those that do not;
* a face is used if its box does not sum to zero, and is wider *and* higher than 100 pixels;
* the box, 1-based, reaches from ceil(x) to ceil(x + w - 1), both included, cut at the frame's edges;
* the crop is Y (16 to 235) of uint8 ``rgb2ycbcr`` as single, divided by 255, resized in single, not clamped;
* video, valence and video_time are stored in double, the last two 1 x N;
* low resolution is ``imresize(imresize(x, 1/s), [96 96])`` of the finished crop.

Differences: inputs are checked before the first frame is decoded, and a recording without a usable face (for which the
script stores one black frame) or with a NaN label is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from matlab_ports._recordings.prepare_recording import Luma, Match, Prepared, prepare_recording, stretch_luma
from matlab_ports._support.frame_time import frame_time
from matlab_ports.matfile import loadmat

__all__ = ["FILE_NAME", "Luma", "Match", "Prepared", "prepare_dataset", "prepare_recording", "stretch_luma"]

FILE_NAME = tuple(f"{part}_{number}" for part in ("train", "dev") for number in range(1, 10))
_log = logging.getLogger(__name__)


def prepare_dataset(
    data_path: str | Path,
    save_root: str | Path,
    *,
    file_name: Sequence[str] = FILE_NAME,
    save_dir: str | Path | None = None,
    imSize: int = 96,
    noDebug: int = 1,
    isSave: int = 1,
    lr: int = 1,
    version: str = "-v7",
) -> list[Prepared]:
    """Crop the faces of recordings.

    Parameters
    ----------
    data_path
        Folder of the AVEC package: recordings_video/NAME.mp4 and recordings_video_frame_time/NAME.csv.
    save_root
        Folder of data/bbox/NAME.mat (bbox, time) and data/gsd/NAME.mat (gsd, time).
    file_name
        Names of the recordings.
    save_dir
        An existing folder; by default data/raw_data/HQ below `save_root`.
    imSize
        Side of a crop.
    noDebug, isSave
        With 0: the first recording only; write nothing.
    lr
        Factor s of downsampling before each crop is upsampled to its size again; 1 for HQ.
    version
        Version of the MAT-files; ``-v7`` as in MATLAB's save.

    Raises
    ------
    PortError
        A recording cannot be used; those before it are written.
    """
    data, root = Path(data_path), Path(save_root)
    target = root / "data" / "raw_data" / "HQ" if save_dir is None else Path(save_dir)
    results = []
    for name in file_name if noDebug else file_name[:1]:
        boxes = loadmat(root / "data" / "bbox" / f"{name}.mat", ["bbox", "time"])
        labels = loadmat(root / "data" / "gsd" / f"{name}.mat", ["gsd", "time"])
        times = frame_time(data / "recordings_video_frame_time" / f"{name}.csv")
        with tqdm(total=len(times), desc=name, unit="frame", disable=None, leave=False) as bar:
            prepared = prepare_recording(
                data / "recordings_video" / f"{name}.mp4",
                times,
                bbox=boxes["bbox"],
                bbox_time=boxes["time"],
                gsd=labels["gsd"],
                gsd_time=labels["time"],
                save={lr: target / f"{name}.mat"} if isSave else {},
                imSize=imSize,
                version=version,
                progress=bar.update,
            )
        _log.info("%s: %d faces in %d frames", name, prepared.faces, prepared.rows)
        results.append(prepared)
    return results
