"""AnnotatedData: batches of images with boxes from a database, as SSD's fork reads them.

Facts from weiliu89/caffe (ssd), annotated_data_layer.cpp: an image is distorted, put on a larger canvas, cropped to one
of the boxes that its samplers accept, and transformed; a coded image is coded again, as JPEG, after each of these steps
but the last.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.data.datum import RecordSource, datum_image
from caffe_compat.data.decode import decode
from caffe_compat.data.source import Origin, register
from caffe_compat.data.ssd_images import Draw, distort, sample_boxes
from caffe_compat.data.ssd_transform import Photo, SSDTransformer, expanded, objects_of
from caffe_compat.layers.forks.ssd_data import ssd_messages
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb


@register
class AnnotatedSource(RecordSource):
    """Batches of an AnnotatedData layer."""

    type = "AnnotatedData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        own, self._added = ssd_messages(layer)
        self._own = own.annotated_data_param
        self._transform = SSDTransformer(layer, self._added, base_dir=base_dir, rng=rng)
        self._open(layer, base_dir)
        origin, record = self._take(fb.AnnotatedDatum)
        photo = self._photo(record, origin)
        self._boxes = record.HasField("type") or self._own.HasField("anno_type")
        shape = self._transform.shape(photo.pixels, origin)
        self._records.first()
        labels = (1, 1, max(len(photo.objects.rows), 1), 8) if self._boxes else (self._batch,)
        self.shapes = dict(zip(self.tops, ((self._batch, *shape), labels), strict=False))
        self._transform.seed(rng)
        self._draw = Draw(rng)

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._transform.rng, "thread": self._draw.rng}

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; its images must have one size after the transformation."""
        images: list[npt.NDArray[np.float32]] = []
        rows: list[npt.NDArray[np.float32]] = []
        labels: list[float] = []
        for number in range(self._batch):
            origin, record = self._take(fb.AnnotatedDatum)
            photo = self._sampled(self._photo(record, origin), origin)
            image, objects = self._transform.apply(photo, self._draw, origin)
            if images and image.shape != images[0].shape:
                problem = f"transformed shape is {image.shape}, the first in its batch has {images[0].shape}"
                hint = "set transform_param.resize_param to give all images the same size"
                raise origin.error(problem, code="shape-mismatch", hint=hint)
            images.append(image)
            labels.append(float(record.datum.label))
            own = objects.rows.copy()
            own[:, 0] = number
            rows.append(own)
        boxes = np.concatenate(rows) if any(map(len, rows)) else np.full((1, 8), -1, np.float32)
        second = torch.from_numpy(boxes)[None, None] if self._boxes else torch.tensor(labels)
        return dict(zip(self.tops, (torch.from_numpy(np.stack(images)), second), strict=False))

    def _photo(self, record: fb.AnnotatedDatum, origin: Origin) -> Photo:
        image = datum_image(record.datum, self._flag, origin)
        if image.dtype != np.uint8:
            raise origin.error("an image of floats", code="wrong-type", hint="store bytes or a coded image")
        unread = [name for name in ("distort_param", "resize_param", "noise_param") if self._added.HasField(name)]
        if unread and not record.datum.encoded:
            problem, hint = f"{unread[0]} needs coded images", "store the file's content with `encoded: true`"
            raise origin.error(problem, code="unsupported", field=f"transform_param.{unread[0]}", hint=hint)
        rows = [
            [0, group.group_label, note.instance_id, b.xmin, b.ymin, b.xmax, b.ymax, b.difficult]
            for group in record.annotation_group
            for note in group.annotation
            for b in [note.bbox]
        ]
        pixels = np.asarray(image, np.uint8).transpose(1, 2, 0)
        size = (record.datum.height, record.datum.width)
        return Photo(pixels, record.datum.encoded, objects_of(rows), size if min(size) > 0 else pixels.shape[:2])

    def _sampled(self, photo: Photo, origin: Origin) -> Photo:
        """Distort, expand and crop an image."""
        added, draw, constraint = self._added, self._draw, self._transform.constraint
        if added.HasField("distort_param"):
            if photo.pixels.shape[2] != 3:
                problem = "distort_param needs colour images"
                raise origin.error(problem, code="wrong-type", hint="set transform_param.force_color")
            photo = self._coded(replace(photo, pixels=distort(photo.pixels, added.distort_param, draw)), origin)
        if added.HasField("expand_param"):
            largest = np.float32(added.expand_param.max_expand_ratio)
            if draw.uniform(0, 1) <= np.float32(added.expand_param.prob) and not abs(largest - 1) < 1e-2:
                ratio = draw.uniform(1, float(largest))
                photo = self._coded(expanded(photo, ratio, self._transform.means, draw, constraint), origin)
        samples = sample_boxes(self._own.batch_sampler, photo.objects.boxes, draw)
        if samples:
            photo = self._coded(photo.part(samples[draw.below(len(samples))], constraint), origin)
        return photo

    def _coded(self, photo: Photo, origin: Origin) -> Photo:
        """Return a coded image as it is after it was coded again."""
        if not photo.pixels.size:
            raise origin.error(
                "a crop of an image is empty", code="invalid", field="annotated_data_param.batch_sampler"
            )
        if not photo.coded:
            return photo
        import cv2

        content = cv2.imencode(".jpg", photo.pixels)[1].tobytes()
        return replace(photo, pixels=decode(content, self._flag, origin))
