"""The compiled loops of ``imresize`` return the bits of the plain loops, and are not loaded for little work."""

import importlib.util
import sys
from unittest.mock import Mock

import numpy as np
import pytest

from matlab_ports import imresize

module = importlib.import_module("matlab_ports.imresize")
compiled = pytest.importorskip(
    "matlab_ports._support.compiled", reason="needs Numba (the extra `fast`)", exc_type=ImportError
)


@pytest.fixture
def always_compiled(monkeypatch):
    resize = Mock(wraps=module._resize_compiled)
    monkeypatch.setattr(module, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(module, "_resize_compiled", resize)
    return resize


def random_images(dtype, shape=(9, 31, 22)):
    values = np.random.default_rng(3).random(shape)
    if np.dtype(dtype).kind == "f":
        return (values * 1e3 - 500).astype(dtype)
    limits = np.iinfo(dtype)
    return (values * (float(limits.max) - limits.min) + limits.min).astype(dtype)


@pytest.mark.parametrize("dtype", module._CLASSES)
@pytest.mark.parametrize("size", [(10, 7), (31, 40), (62, 11), (13, 66)])
@pytest.mark.parametrize("method", ["bicubic", "bilinear", "lanczos3"])
def test_compiled_loops_return_the_same_bits_for_every_class_size_and_kernel(
    dtype, size, method, always_compiled, monkeypatch
):
    stack = random_images(dtype)
    fast = imresize(stack, size, method, axes=(1, 2), threads=2)
    assert always_compiled.call_count == 1
    monkeypatch.setattr(module, "_WORTH_COMPILING", stack.size * 100)
    plain = imresize(stack, size, method, axes=(1, 2), threads=2)
    assert always_compiled.call_count == 1
    assert fast.dtype == plain.dtype == stack.dtype
    np.testing.assert_array_equal(fast.view(np.uint8), plain.view(np.uint8))


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 1)])
def test_compiled_loops_accept_any_axes_and_any_share_of_the_stack(axes, always_compiled, monkeypatch):
    stack = random_images(np.float64, (17, 19, 23))
    monkeypatch.setattr(module, "_SHARE", 1200)  # less than three images at once
    fast = imresize(stack, 0.4, axes=axes, threads=3)
    assert always_compiled.call_count == 1
    monkeypatch.setattr(module, "_WORTH_COMPILING", 1 << 60)
    np.testing.assert_array_equal(fast, imresize(stack, 0.4, axes=axes))


def test_infinity_and_nan_are_treated_alike_by_the_compiled_loops(always_compiled, monkeypatch):
    stack = random_images(np.float32)
    stack[0, 3, 4], stack[1, 5, 6], stack[2, 0, 0] = np.inf, np.nan, -3e38
    fast = imresize(stack, 0.5, axes=(1, 2), threads=1)
    assert always_compiled.call_count == 1
    monkeypatch.setattr(module, "_WORTH_COMPILING", 1 << 60)
    np.testing.assert_array_equal(fast, imresize(stack, 0.5, axes=(1, 2), threads=1))


def test_few_images_do_not_load_the_compiled_loops(monkeypatch):
    monkeypatch.setattr(module, "load_compiled_loops", lambda: pytest.fail("loaded"))
    assert imresize(np.zeros((2, 96, 96)), 0.5, axes=(1, 2)).shape == (2, 48, 48)


def test_without_numba_or_with_fused_products_the_plain_loops_are_used(monkeypatch):
    stack = random_images(np.float64)
    expected = imresize(stack, 0.5, axes=(1, 2))
    monkeypatch.setattr(module, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(compiled, "rounds_products", lambda: False)
    assert module.load_compiled_loops() is None
    np.testing.assert_array_equal(imresize(stack, 0.5, axes=(1, 2)), expected)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "matlab_ports._support.compiled")
    assert module.load_compiled_loops() is None
    np.testing.assert_array_equal(imresize(stack, 0.5, axes=(1, 2)), expected)


def test_loops_are_compiled_even_if_no_cache_can_be_written(monkeypatch):
    """As in another user's installation, without a home."""
    caching = importlib.import_module("numba.core.caching")
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    spec = importlib.util.spec_from_file_location("second_compiled", compiled.__file__)
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    out = np.empty((1, 3))
    second._accumulate(np.ones((2, 3)), np.array([[0.5, 2.0]]), np.array([[0, 1]]), out)
    assert out.tolist() == [[2.5, 2.5, 2.5]]
