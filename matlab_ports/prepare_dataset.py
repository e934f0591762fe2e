"""The authors' ``prepare_dataset.m``: every recording's faces, cropped, gray, 96 x 96, with time and valence.

Kept as the script has it:

* the table of frame times is read from its second line on, its second column is the time;
* one frame is read for every row, also where its face is not kept;
* a time must be found, exactly equal, among the boxes' and the labels'; one that is not is an error (all are listed);
* a face is kept if its box does not sum to zero, and is wider *and* higher than 100 pixels;
* the box, 1-based, goes from ceil(x) to ceil(x + w - 1), both included, cut at the frame's edges;
* the picture is Y (16 .. 235) of uint8 ``rgb2ycbcr`` as single, divided by 255, resized in single, not clamped;
* video, valence and video_time are stored double, the last two 1 x N;
* low resolution is ``imresize(imresize(x, 1/s), [96 96])`` of the finished crop.

Otherwise than there: everything that can be wrong is looked for before the first frame is decoded, a recording without
any face to keep is an error (the script stores one black frame), and so is a label that is not a number.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from matlab_ports._recordings.prepare_recording import Luma, Match, Prepared, prepare_recording
from matlab_ports._support.frame_time import frame_time
from matlab_ports.matfile import loadmat

__all__ = ["FILE_NAME", "Luma", "Match", "Prepared", "prepare_dataset", "prepare_recording"]

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
    """Run the script.

    Parameters
    ----------
    data_path
        The package: recordings_video/NAME.mp4 and recordings_video_frame_time/NAME.csv below it.
    save_root
        Where data/bbox/NAME.mat (bbox, time) and data/gsd/NAME.mat (gsd, time) lie.
    file_name
        The recordings.
    save_dir
        An existing folder; by default data/raw_data/HQ below `save_root`.
    imSize
        Side of a crop.
    noDebug, isSave
        0: the first recording only; look, but write nothing.
    lr
        1 makes HQ; s inserts the line that makes each crop 1/s as large and 96 x 96 again.
    version
        Of the files; ``-v7`` as MATLAB's save.

    Raises
    ------
    PortError
        At the first recording that cannot be used; those before are written.
    """
    data, root = Path(data_path), Path(save_root)
    target = root / "data" / "raw_data" / "HQ" if save_dir is None else Path(save_dir)
    done = []
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
                progress=bar.update,  # type: ignore[arg-type] # tqdm says what it takes too narrowly
            )
        _log.info("%s: %d of %d faces kept", name, prepared.kept, prepared.rows)
        done.append(prepared)
    return done
