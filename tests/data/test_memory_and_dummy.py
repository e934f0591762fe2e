"""MemoryData: the caller's arrays; DummyData: fillers."""

import numpy as np
import pytest
import torch

from caffe_compat.data import CRand, open_source
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, pictures
from tests.refusals import refused


def opened(text, seed=9):
    layer = parse_text(text, pb.LayerParameter)
    layer.name, layer.phase = "feed", pb.TRAIN
    return open_source(layer, rng=CRand(random_seed=seed))


def memory(param="batch_size: 2 channels: 1 height: 2 width: 3", transform="", tops='top: "data" top: "label"'):
    return opened(f'type: "MemoryData" {tops} memory_data_param {{ {param} }} transform_param {{ {transform} }}')


def test_arrays_come_batch_by_batch_over_and_over_untransformed():
    source = memory(transform="scale: 5 mirror: true")
    assert source.shapes == {"data": (2, 1, 2, 3), "label": (2,)}
    data = np.arange(24).reshape(4, 1, 2, 3)
    source.set_arrays(data, [[1], [2], [3], [4]])
    actual = [source.next() for _ in range(3)]
    assert [batch["label"].tolist() for batch in actual] == [[1, 2], [3, 4], [1, 2]]
    assert np.array_equal(actual[1]["data"].numpy(), data[2:])
    assert actual[0]["data"].dtype == torch.float32


def test_new_arrays_start_from_their_first_row_and_later_changes_of_them_do_not_count():
    source = memory()
    data = np.zeros((4, 1, 2, 3), "f4")
    source.set_arrays(data, np.arange(4))
    source.next()
    data[:] = 9
    assert source.next()["data"].max() == 0
    source.set_arrays(data, np.arange(4, 8))
    assert source.next()["label"].tolist() == [4, 5]


def test_a_batch_is_the_callers_own():
    source = memory()
    source.set_arrays(np.zeros((2, 1, 2, 3)), np.zeros(2))
    source.next()["data"].fill_(7)
    assert source.next()["data"].max() == 0


def test_datums_are_transformed():
    source = memory("batch_size: 2 channels: 3 height: 4 width: 4", "crop_size: 4 scale: 0.5 mean_value: 10")
    taken = pictures(2)
    source.add_datums([datum(p, i) for i, p in enumerate(taken)])
    batch = source.next()
    images = batch["data"].numpy() * 2 + 10
    places = [(row, column) for row in range(3) for column in range(4)]
    for number, picture in enumerate(taken):
        assert any(np.array_equal(images[number], picture[:, r : r + 4, c : c + 4]) for r, c in places)
    assert batch["label"].tolist() == [0, 1]


def test_the_cursor_of_memory_data_is_the_row():
    source = memory()
    source.set_arrays(np.zeros((6, 1, 2, 3)), np.arange(6))
    source.next()
    cursor = source.cursor()
    source.next()
    assert source.fits(cursor)
    source.seek(cursor)
    assert source.next()["label"].tolist() == [2, 3]
    source.reset()
    assert source.next()["label"].tolist() == [0, 1]
    assert not memory().fits(cursor)
    assert not source.fits({"place": np.array([1, 6])})


@pytest.mark.parametrize(
    ("shape", "labels", "code"),
    [
        ((2, 1, 3, 2), 2, "shape-mismatch"),
        ((2, 6), 2, "shape-mismatch"),
        ((3, 1, 2, 3), 3, "wrong-count"),
        ((0, 1, 2, 3), 0, "wrong-count"),
        ((2, 1, 2, 3), 4, "wrong-count"),
    ],
)
def test_arrays_of_other_shapes_are_refused(shape, labels, code):
    with refused(code):
        memory().set_arrays(np.zeros(shape), np.zeros(labels))


def test_datums_of_another_size_are_refused():
    with refused("shape-mismatch", field="memory_data_param"):
        memory("batch_size: 2 channels: 3 height: 6 width: 7").add_datums(
            [datum(pictures(1)[0]), datum(pictures(1, (3, 2, 2))[0])]
        )


def test_the_error_about_missing_data_says_how_to_set_them():
    with refused("not-prepared", layer="feed", hint="set_arrays"):
        memory().next()


@pytest.mark.parametrize("field", ["batch_size", "channels", "height", "width"])
def test_extents_must_be_given(field):
    param = "".join(f"{name}: 2 " for name in ("batch_size", "channels", "height", "width") if name != field)
    with refused("out-of-range", field=f"memory_data_param.{field}", value=0):
        memory(param)


def dummy(param, tops='top: "a" top: "b"'):
    return opened(f'type: "DummyData" {tops} dummy_data_param {{ {param} }}')


GAUSS = 'data_filler { type: "gaussian" std: 1 }'


def test_without_a_filler_the_tops_are_zero():
    source = dummy("shape { dim: 2 dim: 3 }")
    assert source.shapes == {"a": (2, 3), "b": (2, 3)}
    assert source.constant == {"a", "b"}
    assert source.next()["b"].tolist() == [[0] * 3] * 2


def test_one_filler_and_one_shape_are_for_all_tops_several_for_each():
    source = dummy(f"{GAUSS} data_filler {{ value: 5 }} shape {{ dim: 4 }} shape {{ dim: 2 dim: 2 }}")
    assert source.shapes == {"a": (4,), "b": (2, 2)}
    assert source.constant == {"b"}
    assert source.next()["b"].tolist() == [[5, 5], [5, 5]]
    assert dummy(f"{GAUSS} shape {{ dim: 4 }}").constant == set()


def test_the_older_fields_give_four_axes():
    source = dummy("num: 5 num: 6 channels: 2 height: 3 width: 4 width: 1")
    assert source.shapes == {"a": (5, 2, 3, 4), "b": (6, 2, 3, 1)}


def test_what_is_not_constant_is_drawn_anew_from_torchs_numbers():
    source = dummy(f"{GAUSS} shape {{ dim: 1000 }}")
    torch.manual_seed(3)
    first, second = source.next()["a"], source.next()["a"]
    assert not torch.equal(first, second)
    assert abs(float(first.std()) - 1) < 0.1
    torch.manual_seed(3)
    assert torch.equal(source.next()["a"], first)


def test_dummy_data_has_no_cursor():
    source = dummy("shape { dim: 2 }")
    assert source.cursor() == {}
    assert source.fits({})
    assert not source.fits({"place": np.zeros(1)})
    source.seek({})
    source.reset()


SHAPE = "shape { dim: 1 }"


@pytest.mark.parametrize(
    ("param", "code", "field"),
    [
        ("", "invalid", "shape"),
        (SHAPE * 3, "invalid", "shape"),
        ("num: 1 channels: 1 height: 1", "invalid", "width"),
        (f"num: 1 channels: 1 height: 1 width: 1 {SHAPE}", "invalid", "shape"),
        (f"{GAUSS} {GAUSS} {GAUSS} {SHAPE}", "invalid", "data_filler"),
        ("shape { dim: 0 }", "invalid", "shape"),
        (SHAPE + " data_filler { type: 'gausian' }", "name-unknown", "data_filler.type"),
        (SHAPE + " data_filler { type: 'bilinear' }", "shape-mismatch", "data_filler.type"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(param, code, field):
    with refused(code, layer="feed", field=f"dummy_data_param.{field}"):
        dummy(param, 'top: "a"')
