"""transform_param as SSD's fork reads it: resizing, noise, crop, mirror, mean and scale of an image and of its boxes.

Facts from weiliu89/caffe (ssd), data_transformer.cpp. It draws mirror, row and column from its own generator, seeded at
setup and again before the first batch, as Caffe's does; the rest is drawn from the thread's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.data.source import Origin
from caffe_compat.data.ssd_images import Draw, Pixels, add_noise, new_size, resize
from caffe_compat.data.transform import check_values, read_mean
from caffe_compat.layers.forks.boxes import Array, area, box, clip, coverage, extrapolate, project, resized, scale
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

_F = np.float32
_FIELD = "transform_param"


@dataclass(frozen=True)
class Objects:
    """The objects in an image."""

    rows: Array
    """(N, 8): 0, label, instance, box and whether it is difficult."""
    areas: Array
    """(N,) of the boxes when they were last cut off; the fork does not compute them anew for a resized image."""

    @property
    def boxes(self) -> Array:
        """The boxes (N, 4), relative to the image."""
        return self.rows[:, 3:7]

    def within(self, source: Array, constraint: Any | None) -> Objects:
        """Return the objects that a crop keeps, relative to it; they meet the EmitConstraint, if there is one."""
        boxes, remain = project(source, self.boxes)
        if constraint is not None:
            remain &= self._emitted(source, constraint)
        return Objects(self.with_boxes(boxes).rows[remain], area(boxes)[remain])

    def with_boxes(self, boxes: Array) -> Objects:
        """Return the objects with other boxes."""
        rows = self.rows.copy()
        rows[:, 3:7] = boxes
        return Objects(rows, self.areas)

    def _emitted(self, source: Array, constraint: Any) -> npt.NDArray[np.bool_]:
        if constraint.emit_type == fb.EmitConstraint.MIN_OVERLAP:
            areas = np.where(np.isnan(self.areas), area(self.boxes), self.areas)
            return np.asarray(coverage(self.boxes, source, areas) > _F(constraint.emit_overlap))
        centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return np.asarray(((centres >= source[:2]) & (centres <= source[2:])).all(1))


def objects_of(rows: Sequence[Sequence[float]]) -> Objects:
    """Return the objects that a record states, whose areas are still to be computed."""
    return Objects(np.array(rows, _F).reshape(-1, 8), np.full(len(rows), np.nan, _F))


@dataclass(frozen=True)
class Photo:
    """An image (height, width, channels) and its objects, between the record and the net."""

    pixels: Pixels
    coded: bool
    """It was stored as a coded image; the fork codes it again after every step."""
    objects: Objects
    size: tuple[int, int]
    """Height and width in its record, by which boxes are resized."""

    def part(self, source: Array, constraint: Any | None) -> Photo:
        """Return a crop, cut off at the borders of the image."""
        source = clip(source[None])[0]
        left, top, right, bottom = scale(source[None], *self.pixels.shape[:2])[0]
        wide, high = int(right - left), int(bottom - top)
        pixels = self.pixels[int(top) : int(top) + high, int(left) : int(left) + wide]
        return Photo(pixels, self.coded, self.objects.within(source, constraint), (high, wide))


def expanded(photo: Photo, ratio: np.float32, fill: list[float], draw: Draw, constraint: Any | None) -> Photo:
    """Return an image at a random place of a larger canvas."""
    (high, wide), channels = photo.pixels.shape[:2], photo.pixels.shape[2]
    new_high, new_wide = int(_F(high) * ratio), int(_F(wide) * ratio)
    top, left = (int(draw.uniform(0, big - small)) for big, small in ((new_high, high), (new_wide, wide)))
    values = np.rint(np.array(fill or [0])).clip(0, 255) if photo.coded else np.array([ord(" ")])
    canvas = np.empty((new_high, new_wide, channels), np.uint8)
    canvas[...] = values
    canvas[top : top + high, left : left + wide] = photo.pixels
    frame = box(-left / wide, -top / high, (new_wide - left) / wide, (new_high - top) / high)
    return Photo(canvas, photo.coded, photo.objects.within(frame, constraint), (new_high, new_wide))


class SSDTransformer:
    """The transform_param of a layer of SSD and what SSD adds to it; `rng` is None where nothing is drawn."""

    def __init__(self, layer: pb.LayerParameter, added: Any, *, base_dir: Path, rng: CRand) -> None:
        self.param, self.added = layer.transform_param, added
        self._train = layer.phase == pb.TRAIN
        size = int(self.param.crop_size)
        self._crop = (size, size) if size else (int(added.crop_h), int(added.crop_w))
        self._mean = read_mean(layer, base_dir)
        self.means = list(self.param.mean_value)
        self.constraint = added.emit_constraint if added.HasField("emit_constraint") else None
        self._resizes = added.HasField("resize_param")
        self.rng: Mersenne | None = None
        self.seed(rng)

    def seed(self, rng: CRand) -> None:
        """Seed the generator of mirror and crop."""
        if self.param.mirror or (self._train and self._crop[0]):
            self.rng = Mersenne(rng.draw())

    def shape(self, pixels: Pixels, origin: Origin) -> tuple[int, int, int]:
        """Return the transformed shape (channels, height, width) of an image."""
        size = new_size(pixels.shape[:2], self.added.resize_param) if self._resizes else pixels.shape[:2]
        high, wide = self._crop if self._crop[0] else size
        if high > size[0] or wide > size[1] or not min(high, wide):
            problem = f"image is {size[0]} x {size[1]}, smaller than the crop"
            raise origin.error(problem, code="shape-mismatch", field=f"{_FIELD}.crop_size", value=self._crop)
        channels = pixels.shape[2]
        check_values(self.means, channels, origin)
        check_values(self.added.resize_param.pad_value, channels, origin, "resize_param.pad_value")
        if self._mean is not None and (self._mean.shape != (channels, *size) or (high, wide) != tuple(size)):
            problem = f"image is {channels} x {size[0]} x {size[1]}; the mean needs this size, and no crop"
            raise origin.error(problem, code="shape-mismatch", field=f"{_FIELD}.mean_file", value=self.param.mean_file)
        return channels, high, wide

    def apply(self, photo: Photo, draw: Draw, origin: Origin) -> tuple[npt.NDArray[np.float32], Objects]:
        """Return the transformed image (channels, height, width) and its objects."""
        mirrored = self.rng is not None and self.param.mirror and self.rng.draw() % 2 == 1
        pixels = photo.pixels
        shape = self.shape(pixels, origin)
        if self._resizes:
            pixels = resize(pixels, self.added.resize_param, draw)
        if self.added.HasField("noise_param"):
            pixels = add_noise(pixels, self.added.noise_param, draw)
        (high, wide), (_, crop_high, crop_wide) = pixels.shape[:2], shape
        top, left = self._offset(high - crop_high), self._offset(wide - crop_wide)
        frame = box(left / wide, top / high, (left + crop_wide) / wide, (top + crop_high) / high)
        image = pixels[top : top + crop_high, left : left + crop_wide].transpose(2, 0, 1).astype(_F)
        image = image[:, :, ::-1] if mirrored else image
        if self._mean is not None:  # of coded images, the fork subtracts it after mirroring
            image = image - (self._mean[:, :, ::-1] if mirrored and not photo.coded else self._mean)
        elif self.means:
            image = image - np.array(self.means, _F)[:, None, None]
        objects = self._objects(photo, frame, mirrored=mirrored)
        return np.ascontiguousarray(image * _F(self.param.scale)), objects

    def _offset(self, room: int) -> int:
        if not self._crop[0]:
            return 0
        return self.rng.draw() % (room + 1) if self._train and self.rng is not None else room // 2

    def _objects(self, photo: Photo, frame: Array, *, mirrored: bool) -> Objects:
        objects, param = photo.objects, self.added.resize_param
        if self._resizes:
            objects = objects.with_boxes(resized(objects.boxes, photo.size, param))
        objects = objects.within(frame, self.constraint)
        boxes = objects.boxes
        if mirrored:
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
        return objects.with_boxes(extrapolate(boxes, photo.size, param, frame) if self._resizes else boxes)
