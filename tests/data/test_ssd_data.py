"""AnnotatedData and VideoData: what weiliu89/caffe (ssd) made of the same records and seeds, and the effect of every field."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from caffe_compat.data import CRand, open_source
from caffe_compat.data.ssd_images import Draw, add_noise, distort, resize, satisfies
from caffe_compat.data.ssd_transform import objects_of
from caffe_compat.formats.text import parse_text
from caffe_compat.layers import FORK_REGISTRY
from caffe_compat.layers.forks.boxes import box
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb
from tests.data.databases import write_lmdb
from tests.nets import build_graph
from tests.refusals import refused

RECORD = Path(__file__).parents[1] / "golden" / "forks" / "annotated.npz"
"""Eight batches, with random crops, canvases and mirrors, from the same seeds; built without OpenCV, the images are not coded."""
MEANS = "mean_value: 104 mean_value: 117 mean_value: 123"


def layer(type_, body, phase="TRAIN", tops=("data", "label")):
    names = " ".join(f'top: "{top}"' for top in tops)
    return parse_text(f'name: "d" type: "{type_}" {names} phase: {phase} {body}', pb.LayerParameter)


def batches(folder, type_, body, count=1, seed=4, **named):
    with open_source(layer(type_, body, **named), base_dir=folder, rng=CRand(random_seed=seed)) as source:
        return [source.next() for _ in range(count)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with np.load(RECORD) as record:
        write_lmdb(folder / "db", [record[f"record{i}"].tobytes() for i in range(5)])
    return folder


@pytest.mark.parametrize("name", list("01234567"))
def test_images_and_boxes_are_the_forks_bit_for_bit(recorded, name):
    with np.load(RECORD) as record:
        phase, transform, samplers = (str(record[f"{name}/{key}"]) for key in ("phase", "transform", "samplers"))
        seed, images, rows = (record[f"{name}/{key}"] for key in ("seed", "images", "rows"))
    body = f'data_param {{ source: "db" batch_size: 5 backend: LMDB }} transform_param {{ {transform} }} annotated_data_param {{ {samplers} }}'
    (batch,) = batches(recorded, "AnnotatedData", body, seed=int(seed), phase=phase)
    assert np.array_equal(batch["data"].numpy(), images)
    assert np.array_equal(batch["label"].numpy()[0, 0], rows)


def photo(number, shape=(20, 24, 3)):
    """A smooth image, which JPEG keeps nearly as it is."""
    high, wide = np.mgrid[: shape[0], : shape[1]]
    channels = [40 + 9 * high + 20 * number, 60 + 7 * wide, 50 + 3 * high + 3 * wide]
    return np.stack(channels[: shape[2]], 2).clip(0, 255).astype(np.uint8)


def annotated(image, boxes, code=".png", **named):
    """An AnnotatedDatum of a coded image: label, then corners."""
    record = fb.AnnotatedDatum(type=fb.AnnotatedDatum.BBOX)
    record.datum.CopyFrom(
        pb.Datum(
            data=cv2.imencode(code, image)[1].tobytes(),
            encoded=True,
            height=image.shape[0],
            width=image.shape[1],
            channels=3,
            **named,
        )
    )
    for label, *corners in boxes:
        note = record.annotation_group.add(group_label=label).annotation.add()
        note.bbox.xmin, note.bbox.ymin, note.bbox.xmax, note.bbox.ymax = corners
    return record


BOXES = [(1, 0.1, 0.1, 0.5, 0.6), (2, 0.4, 0.3, 0.9, 0.9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("annotated")
    records = [annotated(photo(i), BOXES[: 1 + i % 2], label=i) for i in range(4)]
    write_lmdb(out / "db", records)
    write_lmdb(out / "other", [annotated(photo(i + 5), BOXES) for i in range(4)])
    for record in records:
        record.ClearField("type")
    write_lmdb(out / "untyped", records)
    mean = pb.BlobProto(num=1, channels=3, height=20, width=24, data=np.linspace(0, 99, 1440).tolist())
    (out / "mean.binaryproto").write_bytes(mean.SerializeToString())
    for name, shade in (("video", 30), ("another", 25)):
        writer = cv2.VideoWriter(str(out / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (24, 20))
        for number in range(8):
            writer.write(np.clip(photo(0) // 4 + shade * number, 0, 255).astype(np.uint8))
        writer.release()
    return out


DB = 'data_param { source: "db" batch_size: 4 backend: LMDB }'
RESIZE = "resize_param { height: 12 width: 16 }"
SAMPLER = "batch_sampler { sampler { min_scale: 0.5 max_scale: 0.6 } max_sample: 1 }"
LIGHT = "distort_param { brightness_prob: 1 brightness_delta: 60 }"
ANNOTATED = {
    "data_param.source": (DB, DB.replace("db", "other")),
    "data_param.batch_size": (DB, DB.replace("4", "2")),
    "annotated_data_param.batch_sampler": (f"{DB} transform_param {{ {RESIZE} }}", f"{DB} transform_param {{ {RESIZE} }} annotated_data_param {{ {SAMPLER} }}"),
    "annotated_data_param.anno_type": (DB.replace("db", "untyped"), DB.replace("db", "untyped") + " annotated_data_param { anno_type: BBOX }"),
} | {
    f"transform_param.{change.split()[0].rstrip(':')}": (f"{DB} transform_param {{ {before} }}", f"{DB} transform_param {{ {before} {change} }}")
    for before, change in (
        ("", "scale: 2"), ("", "mirror: true"), ("", "crop_size: 8"), ("", 'mean_file: "mean.binaryproto"'), ("", MEANS), ("", "force_gray: true"),
        ("", RESIZE), ("", "noise_param { inverse: true }"), ("crop_size: 8", "emit_constraint { }"),
        ("", "crop_h: 6 crop_w: 8"), ("", LIGHT), (RESIZE, "expand_param { max_expand_ratio: 2 }"),
    )
}  # fmt: skip
VIDEO = 'data_param { batch_size: 2 } video_data_param { video_type: VIDEO video_file: "video.avi" }'
VIDEOS = {
    "data_param.batch_size": (VIDEO, VIDEO.replace("2", "3")),
    "video_data_param.video_file": (VIDEO, VIDEO.replace("video.avi", "another.avi")),
    "video_data_param.skip_frames": (VIDEO, VIDEO.replace("video_file", "skip_frames: 1 video_file")),
} | {
    f"transform_param.{change.split()[0].rstrip(':')}": (VIDEO, f"{VIDEO} transform_param {{ {change} }}")
    for change in ("scale: 2", "mirror: true", "crop_size: 8", 'mean_file: "mean.binaryproto"', MEANS, RESIZE, "noise_param { inverse: true }", "crop_h: 6 crop_w: 8")
}  # fmt: skip
CHANGES = {"AnnotatedData": ANNOTATED, "VideoData": VIDEOS}
ELSEWHERE = {
    "AnnotatedData": {"data_param.backend", "transform_param.force_color", "transform_param.crop_w"},
    "VideoData": {"video_data_param.video_type", "video_data_param.device_id", "transform_param.crop_w"},
}
"""A LevelDB holds the same records, colour images stay as they are, crop_w goes with crop_h, and no test has a camera."""


@pytest.mark.parametrize("type_", CHANGES)
def test_every_field_that_is_read_has_a_change(type_):
    accounts = FORK_REGISTRY[type_][0].accounts.items()
    assert {f"{name}.{fld}" for name, account in accounts for fld in account.read} == {
        *CHANGES[type_],
        *ELSEWHERE[type_],
    }


@pytest.mark.parametrize(("type_", "field"), [(t, f) for t, changes in CHANGES.items() for f in changes])
def test_changing_a_field_that_is_read_changes_a_batch(folder, type_, field):
    first, again, changed = (batches(folder, type_, CHANGES[type_][field][i], 2) for i in (0, 0, 1))

    def same(a, b):
        return all(torch.equal(x[top], y[top]) for x, y in zip(a, b, strict=True) for top in x)

    assert same(first, again), "the example itself is not repeatable"
    assert not same(first, changed)


def test_boxes_follow_a_resized_image(folder):
    (batch,) = batches(folder, "AnnotatedData", f"{DB} transform_param {{ {RESIZE} }}", phase="TEST")
    assert batch["data"].shape == (4, 3, 12, 16)
    torch.testing.assert_close(batch["label"][0, 0, :3, 3:7], torch.tensor([box[1:] for box in (BOXES[0], *BOXES)]))
    assert batch["label"][0, 0, :, :2].tolist() == [[0, 1], [1, 1], [1, 2], [2, 1], [3, 1], [3, 2]]
    fit = RESIZE.replace("}", "resize_mode: FIT_LARGE_SIZE_AND_PAD }").replace("16", "12")
    (batch,) = batches(folder, "AnnotatedData", f"{DB} transform_param {{ {fit} }}", phase="TEST")
    torch.testing.assert_close(batch["label"][0, 0, 0, 3:7], torch.tensor([0.1, 1 / 6, 0.5, 7 / 12]), atol=1e-6, rtol=0)
    assert not batch["data"][:, :, 0].any()


def test_a_batch_without_boxes_is_a_row_of_minus_one(tmp_path):
    write_lmdb(tmp_path / "db", [annotated(photo(0), []) for _ in range(4)])
    (batch,) = batches(tmp_path, "AnnotatedData", DB)
    assert batch["label"].tolist() == [[[[-1.0] * 8]]]


def test_a_source_resumes_where_a_cursor_was_made(folder):
    body = f"{DB.replace('4', '3')} transform_param {{ mirror: true {RESIZE} {LIGHT} }} annotated_data_param {{ {SAMPLER} }}"
    with open_source(layer("AnnotatedData", body), base_dir=folder, rng=CRand(random_seed=1)) as source:
        source.next()
        place = source.cursor()
        expected = source.next()
    with open_source(layer("AnnotatedData", body), base_dir=folder, rng=CRand(random_seed=9)) as source:
        assert source.fits(place)
        source.seek(place)
        again = source.next()
    assert all(torch.equal(again[top], expected[top]) for top in expected)


def test_a_video_ends_with_an_error_and_can_start_again(folder):
    with open_source(layer("VideoData", VIDEO), base_dir=folder, rng=CRand(random_seed=1)) as source:
        assert source.shapes == {"data": (2, 3, 20, 24), "label": (2,)}
        first = [source.next()["data"] for _ in range(4)]
        with refused("empty", hint="fewer batches"):
            source.next()
        source.reset()
        assert torch.equal(source.next()["data"], first[0])


@pytest.mark.parametrize(
    ("type_", "body", "code", "field"),
    [
        ("AnnotatedData", f"{DB} transform_param {{ resize_param {{ height: 3 }} }}", "out-of-range", "transform_param.resize_param"),
        ("AnnotatedData", f"{DB} transform_param {{ expand_param {{ }} }}", "out-of-range", "transform_param.expand_param.max_expand_ratio"),
        ("AnnotatedData", f"{DB} transform_param {{ crop_h: 3 }}", "conflict", "transform_param.crop_h"),
        ("AnnotatedData", f"{DB} transform_param {{ noise_param {{ convert_to_lab: true }} }}", "unsupported", "transform_param.noise_param.convert_to_lab"),
        ("AnnotatedData", f"{DB} transform_param {{ resize_param {{ height: 3 width: 3 resize_mode: FIT_SMALL_SIZE }} }}", "conflict", "data_param.batch_size"),
        ("AnnotatedData", f"{DB} annotated_data_param {{ batch_sampler {{ sampler {{ min_scale: 0 }} }} }}", "out-of-range", "annotated_data_param.batch_sampler[0].sampler"),
        ("VideoData", "data_param { batch_size: 2 } video_data_param { video_type: VIDEO }", "field-missing", "video_data_param.video_file"),
    ],
)  # fmt: skip
def test_fields_that_the_fork_refuses_are_refused(type_, body, code, field):
    text = f'layer {{ name: "d" type: "{type_}" top: "data" {body} }}'
    with refused(code, field=field):
        build_graph(text)


@pytest.mark.parametrize(
    ("records", "body", "code"),
    [
        ([b"no datum \xff"], DB, "damaged-file"),
        ([annotated(photo(0), BOXES), annotated(photo(0, (10, 10, 3)), BOXES)], DB, "shape-mismatch"),
        ([annotated(photo(0, (20, 24, 1)), BOXES)], f"{DB} transform_param {{ {LIGHT} }}", "wrong-type"),
        ([fb.AnnotatedDatum(datum=pb.Datum(channels=1, height=1, width=1, data=b"a"))], f"{DB} transform_param {{ {RESIZE} }}", "unsupported"),
        ([annotated(photo(0), BOXES)], f"{DB} transform_param {{ crop_size: 30 }}", "shape-mismatch"),
        ([annotated(photo(0), BOXES)], f"{DB} transform_param {{ mean_value: 1 mean_value: 2 }}", "wrong-count"),
        ([annotated(photo(0), BOXES)], f"{DB} transform_param {{ resize_param {{ height: 8 width: 8 pad_value: 1 pad_value: 2 }} }}", "wrong-count"),
    ],
)  # fmt: skip
def test_records_that_cannot_be_used_are_refused(tmp_path, records, body, code):
    write_lmdb(tmp_path / "db", records)
    with refused(code, layer="d"):
        batches(tmp_path, "AnnotatedData", body)


def test_a_resized_image_keeps_the_areas_of_boxes_that_were_cut_off_before():
    constraint = fb.EmitConstraint(emit_type=fb.EmitConstraint.MIN_OVERLAP, emit_overlap=0.6)
    whole, half = box(0, 0, 1, 1), [[0, 1, 0, 0.25, 0.25, 0.75, 0.75, 0]]
    objects = objects_of(half)
    narrow = box(0.25, 0.5, 0.75, 0.75)[None]  # half as high as before
    assert len(objects.with_boxes(narrow).within(whole, constraint).rows) == 1
    assert len(objects.within(whole, None).with_boxes(narrow).within(whole, constraint).rows) == 0


def test_of_several_demands_on_a_sample_the_first_decides():
    sample, objects = box(0, 0, 0.5, 0.5), box(0, 0, 0.5, 0.4)[None]
    demand = fb.SampleConstraint(min_jaccard_overlap=0.7, max_object_coverage=0.1)
    assert satisfies(sample, objects, demand)
    assert not satisfies(sample, objects, fb.SampleConstraint(max_object_coverage=0.1))
    assert not satisfies(sample, objects[:0], demand)
    assert satisfies(sample, objects[:0], fb.SampleConstraint())


NOISES = ("hist_eq", "inverse", "decolorize", "gauss_blur", "posterize", "erode", "clahe", "convert_to_hsv")


@pytest.mark.parametrize(
    "field",
    [*(f"{name}: true" for name in NOISES), "jpeg: 20", "saltpepper: true saltpepper_param { fraction: 0.2 value: 9 }"],
)
def test_every_noise_changes_an_image_and_keeps_its_shape(field):
    image = photo(1)
    noisy = add_noise(image, parse_text(field, fb.NoiseParameter), Draw(CRand(random_seed=0)))
    assert noisy.shape == image.shape
    assert noisy.dtype == np.uint8
    assert not np.array_equal(noisy, image)


def test_noises_of_known_values():
    image = np.full((2, 2, 3), 100, np.uint8)
    draw = Draw(CRand(random_seed=0))
    assert add_noise(image, fb.NoiseParameter(inverse=True), draw)[0, 0].tolist() == [155] * 3
    assert add_noise(image, fb.NoiseParameter(posterize=True), draw)[0, 0].tolist() == [96] * 3


def test_distortions_lie_within_their_limits():
    image, draw = np.full((4, 4, 3), 100, np.uint8), Draw(CRand(random_seed=3))
    light = fb.DistortionParameter(brightness_prob=1, brightness_delta=10)
    values = {int(distort(image, light, draw)[0, 0, 0]) for _ in range(50)}
    assert len(values) > 10
    assert min(values) >= 90
    assert max(values) <= 110
    contrast = fb.DistortionParameter(contrast_prob=1, contrast_lower=0.5, contrast_upper=0.5)
    assert distort(image, contrast, draw)[0, 0].tolist() == [50] * 3
    order = fb.DistortionParameter(random_order_prob=1)
    colours = {tuple(distort(np.uint8([[[1, 2, 3]]]), order, draw)[0, 0].tolist()) for _ in range(50)}
    assert len(colours) == 6
    never = fb.DistortionParameter(hue_delta=9, saturation_upper=2)
    assert np.array_equal(distort(image, never, draw), image)


@pytest.mark.parametrize("way", ["LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"])
@pytest.mark.parametrize("mode", ["CONSTANT", "MIRRORED", "REPEAT_NEAREST"])
def test_an_image_is_resized_and_padded(way, mode):
    param = parse_text(
        f"height: 30 width: 24 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_mode: {mode} pad_value: 7 interp_mode: {way}",
        fb.ResizeParameter,
    )
    out = resize(photo(0), param, Draw(CRand(random_seed=0)))
    assert out.shape == (30, 24, 3)
    assert np.array_equal(out[5:25], photo(0))
    expected = {"CONSTANT": np.full((24, 3), 7), "MIRRORED": photo(0)[1], "REPEAT_NEAREST": photo(0)[0]}[mode]
    assert np.array_equal(out[4], expected)


def test_the_shorter_side_is_fitted():
    param = fb.ResizeParameter(height=10, width=10, resize_mode=fb.ResizeParameter.FIT_SMALL_SIZE)
    assert resize(photo(0), param, Draw(CRand(random_seed=0))).shape == (10, 12, 3)
