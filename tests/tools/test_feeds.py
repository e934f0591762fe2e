"""Nets without their data: what their fields tell of shapes, and what is made up."""

import pytest
import torch

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import feed

NET = """
layer {{ name: "d" type: "{}" top: "data" top: "label" {} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {{ num_output: 3 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


def fed(kind, text, **options):
    return feed(prepare(parse_text(NET.format(kind, text), pb.NetParameter), net_state("TRAIN")), **options)


@pytest.mark.parametrize(
    ("kind", "text", "shape"),
    [
        ("Data", 'data_param { source: "gone" batch_size: 4 } transform_param { crop_size: 7 }', (4, 3, 7, 7)),
        (
            "Data",
            'data_param { source: "gone" batch_size: 4 } transform_param { crop_size: 7 force_gray: true }',
            (4, 1, 7, 7),
        ),
        ("ImageData", 'image_data_param { source: "gone" batch_size: 2 new_height: 5 new_width: 6 }', (2, 3, 5, 6)),
        (
            "ImageData",
            'image_data_param { source: "gone" batch_size: 2 new_height: 5 new_width: 6 is_color: false }',
            (2, 1, 5, 6),
        ),
        ("MemoryData", "memory_data_param { batch_size: 2 channels: 5 height: 3 width: 4 }", (2, 5, 3, 4)),
    ],
)
def test_shapes_are_inferred_from_the_fields_of_a_data_layer(kind, text, shape):
    data = fed(kind, text)
    assert data.made_up == {"data": shape, "label": shape[:1]}
    assert data.notes[0].startswith(f"layer 'd': made up, data {'x'.join(map(str, shape))}, label {shape[0]}")
    batch = data.next()
    assert batch["data"].std() > 0.5
    assert not batch["label"].any()
    assert torch.equal(batch["data"], fed(kind, text).next()["data"])
    if kind != "MemoryData":
        with pytest.raises(CaffeCompatError, match="gone"):
            fed(kind, text, made_up=False)


def test_a_label_has_as_many_rows_as_the_given_data():
    text = 'data_param { source: "gone" batch_size: 4 }'
    assert fed("Data", text, input_shapes={"data": (6, 1, 9, 9)}).made_up == {"data": (6, 1, 9, 9), "label": (6,)}


def test_the_label_of_annotated_data_is_a_row_for_each_object():
    text = 'data_param { source: "gone" batch_size: 4 } transform_param { resize_param { height: 6 width: 5 } }'
    layer = f'layer {{ name: "d" type: "AnnotatedData" top: "data" top: "label" {text} }}'
    made_up = feed(prepare(parse_text(layer, pb.NetParameter), net_state("TRAIN"))).made_up
    assert made_up == {"data": (4, 3, 6, 5), "label": (1, 1, 1, 8)}


def test_an_unknown_shape_is_an_error_with_the_reason_why_the_data_is_not_read():
    for kind, text in (("Data", "data_param"), ("HDF5Data", "hdf5_data_param")):
        with pytest.raises(CaffeCompatError) as caught:
            fed(kind, text + ' { source: "gone" batch_size: 4 }')
        problems = getattr(caught.value, "problems", (caught.value,))
        assert {(error.code, error.field) for error in problems} == {("shape-unknown", "top")}
