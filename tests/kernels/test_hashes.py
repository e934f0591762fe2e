"""Hashes of weights that cannot be guarded: any word counts, any number of threads finds the same."""

import pytest
import torch

from caffe_compat.kernels.fast import library
from caffe_compat.kernels.fast.watch import PIECE, Hashes

pytestmark = pytest.mark.skipif(not library.vector_lengths(), reason="installed without a compiler")

FLOATS = PIECE // 4


def tensors(size):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, generator=generator), torch.randn(3, 5, generator=generator).t(), torch.empty(0)]


@pytest.mark.parametrize("size", [1, 127, 128, 129, FLOATS + 1, 50 * FLOATS + 3])
def test_any_number_of_threads_finds_the_same(size, threads):
    hashes = Hashes(tensors(size))
    for count in (1, 2, 3, 5):
        threads(count)
        assert [hashes.hold() for _ in range(20)] == [True] * 20
    assert Hashes(tensors(size)).first == hashes.first


@pytest.mark.parametrize("size", [1, 31, 300, 2 * FLOATS + 5])
def test_every_word_counts(size):
    weights, _, _ = kept = tensors(size)
    hashes = Hashes(kept)
    for i in {*range(0, size, 1 + size // 300), size - 1}:
        value = float(weights[i])
        weights[i] = value + 1
        assert not hashes.hold(), i
        weights[i] = value
        assert hashes.hold(), i


def test_0_is_not_like_minus_0():
    weights = torch.zeros(4)
    hashes = Hashes([weights])
    weights[2] = -0.0
    assert not hashes.hold()
