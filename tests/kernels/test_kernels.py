"""Ordered products: the defined sums, the same bits with and without a compiler, and with any number of threads."""

import hashlib
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat import kernels
from caffe_compat.kernels import convolution as conv
from caffe_compat.kernels import linear, order, plain


@pytest.fixture(params=["compiled", "plain"])
def implementation(request, monkeypatch):
    """Both implementations, in turn."""
    if request.param == "plain":
        use_plain(monkeypatch)
    else:
        pytest.importorskip("numba")


def use_plain(monkeypatch):
    monkeypatch.setattr(order, "implementation", lambda: plain)
    for module in (conv, linear):
        monkeypatch.setattr(module, "implementation", lambda: plain)


def fma(x, y, z):
    """x * y + z in exact arithmetic, rounded once."""
    return rounded(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)))


def chain(a, b):
    """One sum of fused multiply-adds."""
    total = np.float32(0)
    for x, y in zip(a, b, strict=True):
        total = fma(x, y, total)
    return total


def rounded(value):
    """A fraction as the nearest float32, ties to even."""
    near = np.float32(float(value))  # may be rounded twice
    candidates = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    distance = {float(c): abs(Fraction(float(c)) - value) for c in candidates}
    best = min(distance.values())
    nearest = [c for c in candidates if distance[float(c)] == best]
    return min(nearest, key=lambda c: int(c.view(np.int32)) & 1)


def test_large_products_are_summed_in_blocks_of_fused_multiply_adds(implementation):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 1010)).astype("f4"), rng.standard_normal((25, 1010)).astype("f4")
    product = linear.product(torch.from_numpy(a), torch.from_numpy(b).t()).numpy()
    for i, j in ((0, 0), (39, 24), (17, 9)):
        blocks = (slice(320), slice(320, 640), slice(640, 825), slice(825, 1010))
        first, second, third, fourth = (chain(a[i, at], b[j, at]) for at in blocks)
        assert product[i, j] == ((first + second) + third) + fourth


def test_the_last_two_blocks_have_equal_lengths():
    assert order.block_ends(320).tolist() == [320]
    assert order.block_ends(321).tolist() == [161, 321]
    assert order.block_ends(640).tolist() == [320, 640]
    assert order.block_ends(1764).tolist() == [320, 640, 960, 1280, 1522, 1764]
    assert order.block_ends(3200).tolist() == [*range(320, 3201, 320)]
    assert order.block_ends(3200, small=True).tolist() == [3200]


@pytest.mark.parametrize(
    ("kind", "lanes"),
    [
        (linear.Kind.PLAIN, lambda i, j: j >= 16),
        (linear.Kind.TRANSPOSED, lambda i, j: False),
        (linear.Kind.BY_TRANSPOSED, lambda i, j: True),
    ],
)
def test_small_products_are_summed_in_one_chain_or_sixteen_lanes(implementation, kind, lanes):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((5, 350)).astype("f4"), rng.standard_normal((22, 350)).astype("f4")
    product = linear.product(torch.from_numpy(a), torch.from_numpy(b).t(), kind).numpy()
    for i, j in ((0, 0), (4, 15), (2, 16), (4, 20), (4, 21)):
        if lanes(i, j):
            parts = np.array([chain(a[i, lane::16], b[j, lane::16]) for lane in range(16)])
            pairs = j < 20 or (i < 4 and kind is linear.Kind.BY_TRANSPOSED)
            while len(parts) > 1:
                parts = parts[::2] + parts[1::2] if pairs else parts[: len(parts) // 2] + parts[len(parts) // 2 :]
            assert product[i, j] == parts[0]
        else:
            assert product[i, j] == chain(a[i], b[j])


def test_sums_have_these_literal_bits(implementation):
    """Another order, or a product rounded before it is added, gives other bits."""
    tiny = np.float32(2**-12)
    fused = torch.tensor([[-1.0, 1 + tiny]]), torch.tensor([[1 + 2 * tiny], [1 + tiny]])
    assert linear.product(*fused).item() == 2.0**-24  # (1 + t)^2 - (1 + 2t) = t^2, lost if the square is rounded
    k = np.arange(2000)
    a = torch.from_numpy(((k * 37 % 101) / 101 - 0.5).astype("f4"))[None]
    b = torch.from_numpy(((k * 53 % 97) / 97 - 0.5).astype("f4"))[:, None]
    assert linear.product(a, b, linear.Kind.TRANSPOSED).item().hex() == "0x1.30bb8e0000000p+0"
    assert linear.product(a, b).item().hex() == "0x1.30bbb80000000p+0"
    assert linear.product(a.repeat(30, 1), b.repeat(1, 20))[0, 0].item().hex() == "0x1.30bba40000000p+0"


def test_a_convolution_and_its_gradients_have_the_recorded_hash(implementation):
    x, weight, gradient = case((2, 5, 12, 11), 7, 3, seed=3)
    digest = hashlib.sha256()
    for tensor in (
        conv.forward(x, weight, (1, 1), (1, 1), 1),
        conv.weight_gradient(x, weight, gradient, (1, 1), (1, 1), 1),
        conv.bottom_gradient(x, weight, gradient, (1, 1), (1, 1), 1),
        conv.bias_gradient(gradient),
    ):
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == "811bf47e4058d2341da42320cc772a180e370feca85fec997af6a79b8484e167"


def case(shape, outputs, kernel, *, seed=0, stride=1, dilation=1, groups=1):
    """Bottom, weight and a top's gradient, from integers: the same on every version of NumPy."""
    rng = np.random.Generator(np.random.PCG64(seed))

    def draw(*size):
        return torch.from_numpy((rng.integers(-999, 999, size) / 8).astype("f4") / np.float32(77))

    x, weight = draw(*shape), draw(outputs, shape[1] // groups, kernel, kernel)
    top = F.conv2d(x, weight, stride=stride, dilation=dilation, groups=groups).shape
    return x, weight, draw(*top)


geometries = st.fixed_dictionaries({
    "images": st.integers(1, 3), "channels": st.integers(1, 4), "outputs": st.integers(1, 9), "groups": st.sampled_from([1, 1, 2, 3]),
    "kernel": st.integers(1, 3), "stride": st.integers(1, 3), "dilation": st.integers(1, 2),
    "side": st.tuples(st.integers(5, 9), st.integers(5, 13)), "seed": st.integers(0, 99),
})  # fmt: skip


@given(geometries)
@settings(max_examples=25)
def test_compiled_and_plain_convolutions_have_equal_bits(at):
    pytest.importorskip("numba")
    groups, window = at["groups"], ((at["stride"],) * 2, (at["dilation"],) * 2)
    shape = (at["images"], at["channels"] * groups, *at["side"])
    options = {name: at[name] for name in ("seed", "stride", "dilation", "groups")}
    x, weight, gradient = case(shape, at["outputs"] * groups, at["kernel"], **options)
    exact = x.double().requires_grad_(), weight.double().requires_grad_()
    top = F.conv2d(*exact, stride=at["stride"], dilation=at["dilation"], groups=groups)
    references = (top.detach(), *torch.autograd.grad(top, exact, gradient.double()))
    results = []
    for use in (None, use_plain):
        with pytest.MonkeyPatch.context() as patch:
            if use:
                use(patch)
            gradients = (f(x, weight, gradient, *window, groups) for f in (conv.bottom_gradient, conv.weight_gradient))
            results.append((conv.forward(x, weight, *window, groups), *gradients))
    for compiled, slow, reference in zip(*results, references, strict=True):
        assert torch.equal(compiled, slow)
        torch.testing.assert_close(compiled.double(), reference, rtol=0, atol=1e-4)


numbers = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 3.4e38, np.inf])


@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 12), st.data())
@settings(max_examples=40)
def test_special_numbers_and_odd_sizes_have_equal_bits(m, n, k, data):
    compiled = pytest.importorskip("caffe_compat.kernels.compiled")
    values = np.array(data.draw(st.lists(numbers, min_size=m + n + k, max_size=m + n + k)), np.float32)
    factors = values, np.arange(m) % 7, np.arange(k)
    results = []
    for module in (plain, compiled):
        out = np.zeros(m * n, np.float32)
        ends = np.array(sorted({k // 2, k} - {0}))
        module.add_products(
            module.pack(*factors), values, m + np.arange(k), np.arange(n), ends, out, np.arange(m) * n, np.arange(n)
        )
        results.append(out)
    nan = np.isnan(results[0])
    np.testing.assert_array_equal(np.isnan(results[1]), nan)
    np.testing.assert_array_equal(*(r[~nan].view(np.int32) for r in results))


def test_the_emulated_multiply_add_rounds_once():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 2**24, (2, 400)).astype("f4")
    c = np.float32(-1) * a * b * np.exp2(rng.integers(-2, 3, 400)).astype("f4") + rng.integers(-9, 9, 400).astype("f4")
    np.testing.assert_array_equal(plain.fma(a, b, c), list(map(fma, a, b, c)))
    # float64 rounds 1 + 2^-24 + 2^-60 to the middle between two float32, which would then round down
    up = plain.fma(np.float32([2**-30, -(2**-30)]), np.float32([2**-30] * 2), np.float32([1 + 2**-23, 1]))
    assert up.tolist() == [1 + 2**-23, 1.0]
    middle = plain.fma(np.float32([1 + 2**-12]), np.float32([1 + 2**-12]), np.float32([2.0**-50]))
    assert middle.item() == 1 + 2**-11 + 2**-23


def test_add_scaled_rounds_once(implementation):
    rng = np.random.default_rng(2)
    values, terms = rng.standard_normal((2, 21, 19)).astype("f4")
    factor = np.float32(0.3)
    expected = [fma(factor, y, x) for x, y in zip(values.flat, terms.flat, strict=True)]
    for layout in (torch.from_numpy(values.copy()), torch.from_numpy(values.T.copy()).t()):
        linear.add_scaled(layout, torch.from_numpy(terms), 0.3)
        np.testing.assert_array_equal(layout.numpy().ravel(), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_threads_do_not_change_a_bit(threads, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(order, "SHORT", 0)
    before = torch.get_num_threads()
    x, weight, gradient = case((4, 6, 20, 20), 9, 5, seed=5)
    results = []
    for count in (before, threads):
        torch.set_num_threads(count)
        try:
            top = conv.forward(x, weight, (1, 1), (1, 1), 1)
            results.append((top, conv.weight_gradient(x, weight, gradient, (1, 1), (1, 1), 1)))
        finally:
            torch.set_num_threads(before)
    assert all(map(torch.equal, *results))


def test_equal_images_of_a_batch_have_equal_tops():
    x, weight, _ = case((1, 3, 12, 12), 6, 3)
    top = conv.forward(x.repeat(5, 1, 1, 1), weight, (1, 1), (1, 1), 1)
    assert all(torch.equal(image, top[0]) for image in top)


def test_without_numba_the_plain_implementation_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "caffe_compat.kernels.compiled", None)
    monkeypatch.delattr(kernels, "compiled", raising=False)
    assert order.implementation.__wrapped__() is plain


def test_matrices_of_any_layout_and_empty_matrices_are_multiplied():
    a, b = torch.randn(6, 8), torch.randn(8, 5)
    expected = linear.product(a, b)
    torch.testing.assert_close(expected, a @ b)
    assert torch.equal(linear.product(a.t().contiguous().t(), b), expected)
    assert torch.equal(linear.product(torch.cat([a, a], 1)[:, :8], b.t().contiguous().t()), expected)
    assert linear.product(a[:0], b).shape == (0, 5)
    assert torch.equal(linear.product(a[:, :0], b[:0]), torch.zeros(6, 5))
