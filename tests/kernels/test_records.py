"""Single sums of genuine Caffe's recorded run of CNN+D, with all their factors: the bits, on every machine."""

import numpy as np
import pytest
import torch

from caffe_compat.kernels import linear, order, plain


@pytest.mark.parametrize("module", [order.implementation(), plain], ids=["fastest", "plain"])
@pytest.mark.parametrize(("layer", "products"), [("conv2", 1600), ("conv3", 3200), ("fc4", 6400)])
def test_recorded_sums_come_out_in_every_bit(golden, monkeypatch, layer, products, module):
    monkeypatch.setattr(linear, "implementation", lambda: module)
    record = np.load(golden / "sums.npz")
    bottom, weight, bias, top = (record[f"{layer}/{name}"] for name in ("bottom", "weight", "bias", "top"))
    assert bottom.shape == weight.shape == (top.size, products)
    product = linear.product(torch.from_numpy(bottom), torch.from_numpy(weight).t()).numpy()
    np.testing.assert_array_equal(product.diagonal() + bias, top)
    in_double = (bottom.astype("f8") * weight).sum(1).astype("f4") + bias
    assert top.size == 1 or (in_double != top).any()  # another order would be seen
