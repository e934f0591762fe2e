"""The shuffle equals what glibc's rand() and libstdc++'s std::random_shuffle do (GCC 12's own output)."""

import numpy as np

from caffe_compat.data.c_random import CRand, shuffle


def test_crand_equals_glibcs_unseeded_rand():
    rng = CRand()
    assert [rng.rand() for _ in range(5)] == [1804289383, 846930886, 1681692777, 1714636915, 1957747793]


def test_crand_accepts_the_seeds_of_srand():
    seven = CRand(7)
    assert [seven.rand(), seven.rand()] == [1045618677, 1863967299]
    assert CRand(0).rand() == CRand(1).rand()


def test_consecutive_shuffles_equal_libstdcxxs():
    rng = CRand()
    actual = []
    for count in (1, 2, 5, 12, 12):
        items = np.arange(count)
        shuffle(items, rng)
        actual.append(items.tolist())
    assert actual == [
        [0],
        [0, 1],
        [2, 0, 1, 4, 3],
        [3, 5, 6, 7, 4, 8, 1, 10, 2, 9, 11, 0],
        [6, 4, 11, 2, 0, 5, 10, 7, 3, 1, 8, 9],
    ]
    for _ in range(400):
        rng.rand()
    assert rng.rand() == 1750003033
