"""Coordinates map through windows, crops and pointwise layers as worked out by hand."""

# ruff: noqa: C408 -- dict(dim=...) is how these are written

import numpy as np
import pytest

from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.pycaffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    crop_params,
    inverse,
)
from tests.refusals import refused


@pytest.fixture
def n():
    spec = NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 1, 40, 40]))
    return spec


def up(n, top, stride=2, pad=0):
    return L.Deconvolution(top, convolution_param=dict(num_output=1, kernel_size=2 * stride, stride=stride, pad=pad))


def test_a_window_scales_by_its_stride_and_shifts_by_half_its_extent_less_the_padding(n):
    conv = L.Convolution(n.data, kernel_size=5, stride=2, pad=1, num_output=1)
    axis, scale, shift = coord_map(conv.fn)
    assert (axis, scale.tolist(), shift.tolist()) == (1, [0.5], [-0.5])  # (1 - 4 / 2) / 2
    dilated = L.Convolution(n.data, kernel_size=3, dilation=4, num_output=1)
    assert coord_map(dilated.fn)[2].tolist() == [-4.0]  # an extent of 9
    pooled = L.Pooling(n.data, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    assert [v.tolist() for v in coord_map(pooled.fn)[1:]] == [[0.5], [-0.25]]


def test_a_deconvolution_maps_the_other_way(n):
    down = L.Convolution(n.data, kernel_size=4, stride=2, pad=1, num_output=1).fn
    upward = up(n, n.data, 2, 1).fn
    assert [v.tolist() for v in coord_map(upward)[1:]] == [[2], [0.5]]
    round_trip = compose(coord_map(upward), coord_map(down))
    assert [v.tolist() for v in round_trip[1:]] == [[1.0], [0.0]]
    assert [v.tolist() for v in inverse(coord_map(down))[1:]] == [v.tolist() for v in coord_map(upward)[1:]]


def test_fields_may_be_given_inside_their_message(n):
    plain = L.Convolution(n.data, kernel_size=[3, 5], stride=2, pad=1, axis=1, num_output=1).fn
    within = L.Convolution(n.data, convolution_param=dict(kernel_size=[3, 5], stride=2, pad=1, num_output=1)).fn
    for a, b in zip(conv_params(plain), conv_params(within), strict=True):
        np.testing.assert_array_equal(a, b)
    pooled = L.Pooling(n.data, pooling_param=dict(kernel_size=3, stride=2)).fn
    assert [np.array(v).tolist() for v in conv_params(pooled)] == [1, [2], [3], [0]]
    cropped = L.Crop(n.data, n.data, crop_param=dict(axis=3, offset=[4])).fn
    assert (crop_params(cropped)[0], crop_params(cropped)[1].tolist()) == (3, [4])


def test_pointwise_layers_map_any_axis_to_itself(n):
    for make in (L.ReLU, L.BatchNorm, L.Scale, L.Dropout, L.LRN, L.Eltwise):
        assert coord_map(make(n.data).fn) == (None, 1, 0)


def test_layers_that_mix_positions_have_no_map(n):
    for top in (L.InnerProduct(n.data, num_output=2), L.Pooling(n.data, global_pooling=True), L.Softmax(n.data)):
        with pytest.raises(UndefinedMapException):
            coord_map(top.fn)
    n.ip = L.InnerProduct(n.data, num_output=1)
    with refused("mismatch"):
        coord_map_from_to(n.ip, n.data)


def test_legacy_fields_are_refused_by_name(n):
    for fields in (dict(kernel_h=3, kernel_w=3), dict(convolution_param=dict(kernel_size=3, pad_h=1))):
        with pytest.raises(AssertionError, match="kernel_h|pad_h"):
            coord_map(L.Convolution(n.data, **fields).fn)


def test_the_upsampled_score_of_a_strided_net_is_cropped_by_its_margin(n):
    n.conv = L.Convolution(n.data, kernel_size=3, pad=10, num_output=1)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.score = up(n, n.pool)
    axis, scale, shift = coord_map_from_to(n.score, n.data)
    # 10 - 1 for the convolution, 2 * -0.25 + 1.5 for pooling and enlarging
    assert (axis, scale.tolist(), shift.tolist()) == (1, [1.0], [-10.0])
    layer = crop(n.score, n.data).fn
    assert layer.type_name == "Crop"
    assert layer.inputs == (n.score, n.data)
    assert layer.params == {"crop_param": {"axis": 2, "offset": [10]}}


def test_the_offsets_are_those_of_the_published_fcn_nets(n):
    """Those in the prototxt of FCN-32s, -16s and -8s: 19, 27 and 31 (and 5 and 9 for the skips)."""

    def score(top):
        return L.Convolution(top, kernel_size=1, num_output=1)

    top, pools = n.data, []
    for block, convolutions in enumerate((2, 2, 3, 3, 3)):
        for number in range(convolutions):
            pad = 100 if block == number == 0 else 1
            top = L.ReLU(L.Convolution(top, kernel_size=3, pad=pad, num_output=1), in_place=True)
        top = L.Pooling(top, kernel_size=2, stride=2)
        pools.append(top)
    top = score(L.Convolution(L.Convolution(top, kernel_size=7, num_output=1), kernel_size=1, num_output=1))
    offset = lambda layer: layer.fn.params["crop_param"]["offset"]  # noqa: E731
    assert offset(crop(up(n, top, 32), n.data)) == [19]
    pool4, pool3 = score(pools[3]), score(pools[2])
    skip4 = crop(pool4, up(n, top))
    assert offset(skip4) == [5]
    fuse4 = L.Eltwise(up(n, top), skip4)
    assert offset(crop(up(n, fuse4, 16), n.data)) == [27]
    up4 = up(n, fuse4)
    skip3 = crop(pool3, up4)
    assert offset(skip3) == [9]
    assert offset(crop(up(n, L.Eltwise(up4, skip3), 8), n.data)) == [31]


def test_two_branches_meet_in_their_common_ancestor(n):
    n.relu = L.ReLU(n.data)
    n.a = L.Convolution(n.relu, kernel_size=3, num_output=1)
    n.b = L.Convolution(n.relu, kernel_size=7, num_output=1)
    axis, scale, shift = coord_map_from_to(n.a, n.b)
    assert (axis, scale.tolist(), shift.tolist()) == (1, [1.0], [-2.0])
    assert crop(n.a, n.b).fn.params["crop_param"]["offset"] == [2]
    with pytest.raises(AssertionError, match="negative offset"):
        crop(n.b, n.a)


def test_anisotropic_windows_give_an_offset_per_axis(n):
    n.c = L.Convolution(n.data, kernel_size=[1, 5], pad=[3, 4], num_output=1)
    layer = crop(n.c, n.data).fn
    assert layer.params["crop_param"] == {"axis": 2, "offset": [3, 2]}
    n.spec = L.Crop(n.c, n.data, **layer.params)
    assert list(n.to_proto().layer[-1].crop_param.offset) == [3, 2]


def test_a_crop_is_mapped_through_its_first_bottom_only(n):
    n.big = L.Convolution(n.data, kernel_size=1, pad=8, num_output=1)
    n.other = L.Input(shape=dict(dim=[1, 1, 40, 40]))
    n.cropped = L.Crop(n.big, n.other, offset=5)
    assert coord_map_from_to(n.cropped, n.data)[2].tolist() == [-3]
    with refused("mismatch"):
        coord_map_from_to(n.cropped, n.other)


def test_impossible_crops_are_refused(n):
    n.half = L.Pooling(n.data, kernel_size=2, stride=2)
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(n.half, n.data)
    n.even = L.Convolution(n.data, kernel_size=2, pad=1, num_output=1)
    with pytest.raises(AssertionError, match="noninteger offset"):
        crop(n.even, n.data)
    n.relu = L.ReLU(n.data)
    with refused("ambiguous"):
        crop(n.relu, n.data)


def test_maps_over_different_axes_do_not_compose():
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))
    assert compose((None, 2, 3), (2, 5, 7)) == (2, 10, 17)
    assert compose((2, 2, 3), (None, 5, 7)) == (2, 10, 17)
