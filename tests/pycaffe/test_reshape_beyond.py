"""A convolution that reaches beyond its bottom, in a net that is given another size."""

import numpy as np

NET = """
force_backward: true input: "x" input_shape { dim: 1 dim: 1 dim: 1 dim: 3 }
layer { name: "l" type: "Convolution" bottom: "x" top: "y" convolution_param {
  num_output: 1 kernel_size: 2 stride: 2 bias_term: false weight_filler { type: "constant" value: 2 } } }
"""


def test_it_reads_zeros_beyond_its_bottom_and_none_where_the_bottom_has_grown(make):
    net = make(NET)
    net.blobs["x"].data[...] = [1, 2, 3]
    assert net.forward()["y"].tolist() == [[[[6.0]]]]
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert net.blobs["x"].diff.tolist() == [[[[2, 2, 0]]]]
    assert net.params["l"][0].diff.tolist() == [[[[1, 2], [0, 0]]]]
    net.blobs["x"].reshape(1, 1, 4, 4)
    net.blobs["x"].data[...] = 1
    assert np.array_equal(net.forward()["y"], np.full((1, 1, 2, 2), 8, "f4"))
