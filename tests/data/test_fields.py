"""Every field that a data layer's account says is read changes a batch; fields that it rejects are refused by name."""

import cv2
import h5py
import numpy as np
import pytest
import torch

from caffe_compat.data import DATA_LAYER_TYPES, CRand, open_source
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import parse_text
from caffe_compat.layers import REGISTRY, facts
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, pictures, write_leveldb, write_lmdb, write_mean
from tests.nets import build_graph
from tests.refusals import refused

DB = "source: 'db' batch_size: 4 backend: LMDB"
CODED = "source: 'coded' batch_size: 1 backend: LMDB"
LIST = "source: 'list.txt' batch_size: 3"
WINDOWS = "source: 'windows.txt' batch_size: 4 fg_threshold: 0.5 bg_threshold: 0.3 fg_fraction: 0.5"
MEMORY = "batch_size: 2 channels: 3 height: 6 width: 6"
DUMMY = "shape { dim: 2 dim: 3 }"
LEGACY = "num: 2 channels: 3 height: 4 width: 5"

TRANSFORM = ("scale: 2", "mirror: true", "crop_size: 4", "mean_file: 'mean.binaryproto'", "mean_value: 3")


def transforms(message, base, changes=TRANSFORM, before=""):
    """By field: the layer's text before and after."""
    text = f"{message} {{ {base} }} transform_param {{ %s }}"
    return {f"transform_param.{c.split(':')[0]}": (text % before, text % f"{before} {c}") for c in changes}


def fields(message, base, **changes):
    """Each field's new text; where it is a pair, the old one as well."""
    pairs = {field: change if isinstance(change, tuple) else (base, change) for field, change in changes.items()}
    return {f"{message}.{field}": tuple(f"{message} {{ {t} }}" for t in texts) for field, texts in pairs.items()}


PAIRS = "source: 'pairs.txt' batch_size: 2"
SIZED = PAIRS + " new_height: 4 new_width: 4"
PIXEL = PAIRS + " label_type: PIXEL"
FACTORS = "scale_factors: 0.5 scale_factors: 2 crop_size: 5 mean_value: 9"


def common(param, base):
    """Changes of the fields that ImageSegData and DenseImageData share."""
    sized = f"{base} new_height: 4 new_width: 4"
    return fields(
        param, base, source=base.replace("pairs", "other_pairs"), batch_size=base.replace("batch_size: 2", "batch_size: 1"),
        rand_skip=base + " rand_skip: 4", shuffle=base + " shuffle: true",
        new_height=(sized, sized.replace("new_height: 4", "new_height: 5")),
        new_width=(sized, sized.replace("new_width: 4", "new_width: 5")), is_color=base + " is_color: false",
        root_folder=base + " root_folder: 'more/'",
    )  # fmt: skip


def cropped(param, base, where, crop="crop_height: 4 crop_width: 5"):
    """Changes of crop_height and crop_width, which stand in the message `where`."""
    text = f"{param} {{ {base} %s }}" if where == param else f"{param} {{ {base} }} {where} {{ %s }}"
    changes = {"crop_height": crop.replace("4", "3"), "crop_width": crop.replace("5", "3")}
    return {f"{where}.{field}": (text % crop, text % change) for field, change in changes.items()}


FORCED = ("force_color: true", "force_gray: true")
CHANGES = {
    "HDF5Data": fields(
        "hdf5_data_param", "source: 'h5.txt' batch_size: 3",
        source="source: 'h5_more.txt' batch_size: 3", batch_size="source: 'h5.txt' batch_size: 2",
        shuffle="source: 'h5.txt' batch_size: 3 shuffle: true",
    ),
    "Data": fields(
        "data_param", DB, source=DB.replace("db", "other"), batch_size=DB.replace("4", "3"),
        backend=(DB.replace("db", "both"), DB.replace("db", "both").replace("LMDB", "LEVELDB")),
    ) | transforms("data_param", DB) | transforms("data_param", CODED, FORCED),
    "ImageData": fields(
        "image_data_param", LIST, source=LIST.replace("list", "other"), batch_size=LIST.replace("3", "2"),
        rand_skip=LIST + " rand_skip: 4", shuffle=LIST + " shuffle: true",
        new_height=(LIST + " new_height: 4 new_width: 4", LIST + " new_height: 5 new_width: 4"),
        new_width=(LIST + " new_height: 4 new_width: 4", LIST + " new_height: 4 new_width: 5"),
        is_color=LIST + " is_color: false", root_folder=LIST + " root_folder: 'more/'",
    ) | transforms("image_data_param", LIST),
    "WindowData": {
        field: tuple(f"{text} transform_param {{ crop_size: 6 }}" for text in texts)
        for field, texts in fields(
            "window_data_param", WINDOWS, source=WINDOWS.replace("windows", "other_windows"), scale=WINDOWS + " scale: 2",
            batch_size=WINDOWS.replace("4", "3"), fg_threshold=WINDOWS.replace("0.5", "0.9", 1),
            bg_threshold=WINDOWS.replace("0.3", "0.1"), fg_fraction=WINDOWS.replace("fraction: 0.5", "fraction: 0.25"),
            context_pad=WINDOWS + " context_pad: 1", crop_mode=WINDOWS + " crop_mode: 'square'",
            root_folder=WINDOWS + " root_folder: 'more/'",
        ).items()
    } | transforms("window_data_param", WINDOWS, TRANSFORM[1:2] + TRANSFORM[3:], "crop_size: 6") | {
        "transform_param.crop_size": tuple(f"window_data_param {{ {WINDOWS} }} transform_param {{ crop_size: {n} }}" for n in (6, 5))
    },
    "MemoryData": fields(
        "memory_data_param", MEMORY, batch_size=MEMORY.replace("2", "4"), channels=MEMORY.replace("3", "1"),
        height=MEMORY.replace("height: 6", "height: 5"), width=MEMORY.replace("width: 6", "width: 5"),
    ) | transforms("memory_data_param", MEMORY) | {
        f"transform_param.{name}": (f"memory_data_param {{ {MEMORY} }} transform_param {{ {other}: true }}", f"memory_data_param {{ {MEMORY} }} transform_param {{ {name}: true }}")
        for name, other in (("force_color", "force_gray"), ("force_gray", "force_color"))
    },
    "DummyData": fields(
        "dummy_data_param", DUMMY, data_filler=DUMMY + " data_filler { value: 3 }", shape=DUMMY.replace("3", "4"),
        num=(LEGACY, LEGACY.replace("2", "7")), channels=(LEGACY, LEGACY.replace("3", "7")),
        height=(LEGACY, LEGACY.replace("4", "7")), width=(LEGACY, LEGACY.replace("5", "7")),
    ),
    "DenseImageData": common("dense_image_data_param", PAIRS)
    | fields("dense_image_data_param", PAIRS, mirror=PAIRS + " mirror: true")
    | cropped("dense_image_data_param", PAIRS, "dense_image_data_param")
    | transforms("dense_image_data_param", PAIRS, (TRANSFORM[0], *TRANSFORM[3:])),
    "ImageSegData": common("image_data_param", PIXEL)
    | fields(
        "image_data_param", PIXEL, label_type=PAIRS + " label_type: NONE",
        ignore_label=(PAIRS + " label_type: NONE", PAIRS + " label_type: NONE ignore_label: 7"),
    )
    | cropped("image_data_param", PIXEL, "transform_param")
    | transforms("image_data_param", PIXEL, (*TRANSFORM[:3], TRANSFORM[4]))
    | {
        "transform_param.scale_factors": tuple(
            f"image_data_param {{ {PIXEL} }} transform_param {{ {text} }}"
            for text in (FACTORS, FACTORS.replace("2", "3", 1))
        )
    },
}  # fmt: skip
TWO_TOPS = {"DenseImageData", "ImageSegData", "ImageData", "WindowData", "MemoryData", "Data", "HDF5Data"}


def _write_pictures(folder, seed):
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures(5, (6, 6, 3), seed)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("fields")
    for seed, name in enumerate(("h5", "h5_more")):
        with h5py.File(out / f"{name}.h5", "w") as file:
            file["data"], file["label"] = np.random.default_rng(seed).random((5, 2)), np.arange(5)
        (out / f"{name}.txt").write_text(f"{name}.h5")
    write_lmdb(out / "db", [datum(p, i) for i, p in enumerate(pictures(5, (3, 6, 6), 1))])
    write_lmdb(out / "other", [datum(p, i) for i, p in enumerate(pictures(5, (3, 6, 6), 2))])
    write_lmdb(out / "both", [datum(p, i) for i, p in enumerate(pictures(5, (3, 6, 6), 3))])
    write_leveldb(out / "both", [datum(p, i) for i, p in enumerate(pictures(5, (3, 6, 6), 4))])
    coded = [cv2.imencode(".png", p if i else p[:, :, 0])[1].tobytes() for i, p in enumerate(pictures(2, (6, 6, 3)))]
    write_lmdb(out / "coded", [pb.Datum(data=content, encoded=True) for content in coded])
    write_mean(out / "mean.binaryproto", np.random.default_rng(5).uniform(0, 255, (3, 6, 6)))
    _write_pictures(out, 1)
    _write_pictures(out / "more", 2)
    (out / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(5)))
    (out / "other.txt").write_text("".join(f"{4 - i}.png {i}\n" for i in range(5)))
    for number, labels in enumerate(pictures(5, (6, 6), 6)):
        for name in (out, out / "more"):
            cv2.imwrite(str(name / f"l{number}.png"), labels % 5)
    (out / "pairs.txt").write_text("".join(f"{i}.png l{i}.png\n" for i in range(5)))
    (out / "other_pairs.txt").write_text("".join(f"{i}.png l{4 - i}.png\n" for i in range(5)))
    head = "# 0\n0.png 3 6 6 5\n"
    windows = "1 1 1 1 3 2\n2 0.6 0 0 5 5\n3 0.4 1 1 2 2\n1 0.2 2 1 4 4\n1 0 0 0 2 2\n"
    (out / "windows.txt").write_text(head + windows)
    (out / "other_windows.txt").write_text(head + windows.replace("2 2", "3 3"))
    return out


def results(folder, type_, text, more=""):
    tops = 'top: "data" top: "label"' if type_ in TWO_TOPS else 'top: "data"'
    layer = parse_text(f'name: "l" type: "{type_}" {tops} phase: TRAIN {text}', pb.LayerParameter)
    layer.MergeFrom(parse_text(more, pb.LayerParameter))
    source = open_source(layer, base_dir=folder, rng=CRand(random_seed=4))
    if type_ == "MemoryData":
        shape = tuple(source.shapes["data"][1:])
        if layer.transform_param.force_color or layer.transform_param.force_gray:
            return _coded(source)
        if layer.transform_param.crop_size:
            layer.memory_data_param.height = layer.memory_data_param.width = layer.transform_param.crop_size
            source = open_source(layer, base_dir=folder, rng=CRand(random_seed=4))
        source.add_datums([datum(p, i) for i, p in enumerate(pictures(4, shape))])
    return [value for _ in range(4) for value in source.next().values()]


def _coded(source):
    """Forcing gray makes one channel, which does not fit; forcing colour makes three."""
    coded = cv2.imencode(".png", np.zeros((6, 6, 3), np.uint8))[1].tobytes()
    try:
        source.add_datums([pb.Datum(data=coded, encoded=True)] * 2)
    except CaffeCompatError as error:
        return [torch.tensor(len(str(error)))]
    return list(source.next().values())


def same(first, second):
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("type_", sorted((DATA_LAYER_TYPES & set(REGISTRY)) | set(CHANGES)))
def test_every_field_that_is_read_has_a_change(type_):
    accounts = facts(type_).accounts
    assert {f"{name}.{fld}" for name, account in accounts.items() for fld in account.read} == set(CHANGES[type_])


@pytest.mark.parametrize(("type_", "field"), [(t, f) for t in sorted(CHANGES) for f in CHANGES[t]])
def test_changing_a_field_that_is_read_changes_a_batch(folder, type_, field):
    before, after = CHANGES[type_][field]
    first = results(folder, type_, before)
    assert same(first, results(folder, type_, before)), "the example itself is not repeatable"
    assert not same(first, results(folder, type_, after))


IGNORED = [(t, n, f) for t in sorted(CHANGES) for n, a in facts(t).accounts.items() for f in a.ignored]


@pytest.mark.parametrize(("type_", "name", "field"), IGNORED)
def test_changing_a_field_that_is_ignored_changes_nothing(folder, type_, name, field):
    base = next(iter(CHANGES[type_].values()))[0]
    value = {"prefetch": "9", "rand_skip": "3"}.get(field, "true")
    first = results(folder, type_, base)
    assert same(first, results(folder, type_, base, f"{name} {{ {field}: {value} }}"))


REJECTED = [(t, n, f) for t in sorted(CHANGES) for n, a in facts(t).accounts.items() for f in a.rejected]


@pytest.mark.parametrize(("type_", "name", "field"), REJECTED)
def test_fields_that_caffe_left_behind_are_refused_by_name(type_, name, field):
    value = {"scale": "2", "crop_size": "3", "mean_file": "'m'"}.get(field, "true")
    text = f'layer {{ name: "l" type: "{type_}" top: "a" top: "b" {name} {{ {field}: {value} }} }}'
    with refused("several") as failure:
        build_graph(text, input_shapes={"a": (1,), "b": (1,)})
    problem = failure.value.problems[0]
    assert (problem.code, problem.layer, problem.field) == ("unsupported", "l", f"{name}.{field}")
