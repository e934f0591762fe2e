"""VideoData: batches of the frames of a video file or a camera, as SSD's fork reads them with OpenCV.

Facts from weiliu89/caffe (ssd), video_data_layer.cpp. After the last frame the fork interrupts its own process; here it
is an error. Before each frame skip_frames others are left out; the fork writes these to memory that is not theirs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne
from caffe_compat.data.source import Cursor, Origin, RandomSource, find_source, positive, register
from caffe_compat.data.ssd_images import Draw, Pixels
from caffe_compat.data.ssd_transform import Photo, SSDTransformer, objects_of
from caffe_compat.layers.forks.ssd_data import ssd_messages
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

_FIELD = "video_data_param"


@register
class VideoSource(RandomSource):
    """Batches of a VideoData layer."""

    type = "VideoData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        messages, added = ssd_messages(layer)
        own = messages.video_data_param
        self.tops = tuple(layer.top)
        self.prefetch = int(layer.data_param.prefetch)
        self._batch = positive(layer, "data_param.batch_size", layer.data_param.batch_size)
        self._skip = int(own.skip_frames)
        self._transform = SSDTransformer(layer, added, base_dir=base_dir, rng=rng)
        self._open(layer, own, base_dir)
        self._frame = 0
        shape = self._transform.shape(self._read(), self._origin)
        self.reset()
        self.shapes = dict(zip(self.tops, ((self._batch, *shape), (self._batch,)), strict=False))
        self._transform.seed(rng)
        self._draw = Draw(rng)

    def _open(self, layer: pb.LayerParameter, own: fb.VideoDataParameter, base_dir: Path) -> None:
        import cv2

        self._is_file = own.video_type == fb.VideoDataParameter.VIDEO
        field = f"{_FIELD}.{'video_file' if self._is_file else 'device_id'}"
        path = find_source(layer, field, own.video_file, base_dir, "file") if self._is_file else None
        self._origin = Origin(layer.name, path)
        self._capture = cv2.VideoCapture(str(path) if path is not None else int(own.device_id))
        if not self._capture.isOpened():
            raise self._origin.error("OpenCV cannot open this video", code="file-unreadable", field=field)

    def close(self) -> None:
        """Close the video."""
        self._capture.release()

    def reset(self) -> None:
        """Start again from the first frame of a file; a camera goes on."""
        self._jump(0)

    def _jump(self, frame: int) -> None:
        import cv2

        if self._is_file:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
            self._frame = frame

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._transform.rng, "thread": self._draw.rng}

    def _position(self) -> Cursor:
        return {"frame": np.array([self._frame])}

    def _has_position(self, cursor: Cursor) -> bool:
        frame = cursor.get("frame", NO_NUMBERS)
        return frame.shape == (1,) and bool(frame[0] >= 0)

    def _go_to(self, cursor: Cursor) -> None:
        self._jump(int(cursor["frame"][0]))

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; refuse to read past the end of the video."""
        images = []
        for _ in range(self._batch):
            for _ in range(self._skip):
                self._read()
            pixels = self._read()
            photo = Photo(pixels, True, objects_of([]), pixels.shape[:2])  # noqa: FBT003
            images.append(self._transform.apply(photo, self._draw, self._origin)[0])
        batch = (torch.from_numpy(np.stack(images)), torch.zeros(self._batch))
        return dict(zip(self.tops, batch, strict=False))

    def _read(self) -> Pixels:
        present, image = self._capture.read()
        if not present:
            problem = (
                f"the video has ended after {self._frame} frames" if self._is_file else "the camera gives no image"
            )
            raise self._origin.error(problem, code="empty", hint="run fewer batches")
        self._frame += 1
        return np.asarray(image, np.uint8).reshape(*image.shape[:2], -1)
