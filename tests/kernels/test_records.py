"""Genuine Caffe's recorded layers, gradients and sums of CNN+D are reproduced bit for bit on every machine."""

import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.kernels import order, plain


def add_up(kernels, a, b):
    out, inner, offset = np.zeros(1, np.float32), np.arange(a.size), np.zeros(1, np.int64)
    kernels.add_products(
        kernels.pack(a, offset, inner), b, inner, offset, order.block_ends(a.size), out, offset, offset
    )
    return out[0]


@pytest.mark.parametrize("module", ["fastest", "plain"])
@pytest.mark.parametrize(("layer", "products"), [("conv2", 1600), ("conv3", 3200), ("fc4", 6400)])
def test_recorded_sums_are_reproduced_bit_for_bit(golden, layer, products, module):
    record = np.load(golden / "sums.npz")
    bottom, weight, bias, top = (record[f"{layer}/{name}"] for name in ("bottom", "weight", "bias", "top"))
    assert bottom.shape == weight.shape == (top.size, products)
    kernels = order.implementation() if module == "fastest" else plain
    # in blocks, as in the large products that were recorded
    sums = [add_up(kernels, x, y) for x, y in zip(bottom, weight, strict=True)]
    np.testing.assert_array_equal(np.array(sums) + bias, top)
    in_double = (bottom.astype("f8") * weight).sum(1).astype("f4") + bias
    assert top.size == 1 or (in_double != top).any()  # the test detects another order


@pytest.mark.parametrize("case", [
    "conv_basic", "conv_dilation", "conv_group", "conv_rect", "conv_stride_pad", "ip", "ip_axis2_nobias", "ip_transpose",
    "shared_weights",
])  # fmt: skip
def test_recorded_layers_and_gradients_are_reproduced_bit_for_bit(golden, case):
    folder = golden / "layers" / case
    record = np.load(folder / "record.npz")
    net = load_net(folder / "net.prototxt", folder / "weights.caffemodel", losses=True, exact=True)
    inputs = {key: torch.from_numpy(record[f"in/{key}"]).requires_grad_() for key in net.inputs}
    blobs = net.every_blob(inputs)
    seeds = {key: torch.from_numpy(record[f"seed/{key}"]) for key in blobs if f"seed/{key}" in record.files}
    gradients = {}
    if seeds:
        torch.autograd.backward([blobs[key] for key in seeds], list(seeds.values()))
        gradients = {f"grad/{key}": value.grad for key, value in inputs.items()}
        for slot in net.params:
            key, gradient = f"pgrad/{slot.layer}/{slot.index}", slot.tensor.grad
            gradients[key] = gradient if gradient.shape == record[key].shape else gradient.t()  # `transpose: true`
    ours = {f"out/{key}": value.detach() for key, value in blobs.items() if key != "loss"} | gradients
    names = [key for key in record.files if key in ours]
    assert len(names) >= (3 if seeds else 2)
    for key in names:
        np.testing.assert_array_equal(ours[key].numpy(), record[key], err_msg=key)
