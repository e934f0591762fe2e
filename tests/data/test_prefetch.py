"""Prefetched batches and cursors equal those of the source, and the threads end."""

import gc
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import torch

from caffe_compat.data import CRand, Prefetch, ahead, open_source
from caffe_compat.data.source import DataSource
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, numbered, pictures, write_lmdb
from tests.data.test_transform import layer
from tests.refusals import refused


class Counting(DataSource):
    """Returns 0, 1, 2 ...; fails at `bad`."""

    type = ""
    tops = ("n",)
    shapes = {"n": (1,)}

    def __init__(self, bad=None, pause=0.0):
        self.number, self.bad, self.pause = 0, bad, pause

    def next(self):
        time.sleep(self.pause)
        if self.number == self.bad:
            raise DataError("bad", code="invalid", value=self.number)
        self.number += 1
        return {"n": torch.tensor([self.number - 1])}

    def reset(self):
        self.number = 0

    def cursor(self):
        return {"n": np.array([self.number])}

    def fits(self, cursor):
        return len(cursor["n"]) == 1

    def seek(self, cursor):
        self.number = int(cursor["n"][0])


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("caffe-prefetch")]


def eventually(fact):
    stop = time.monotonic() + 5
    while not fact() and time.monotonic() < stop:
        time.sleep(0.005)
    return fact()


@pytest.fixture(autouse=True)
def _all_threads_end():
    yield
    gc.collect()
    assert eventually(lambda: not threads())


def taken(source, count):
    return [int(source.next()["n"][0]) for _ in range(count)]


@pytest.mark.parametrize("depth", [1, 4, 100])
def test_batches_and_cursors_equal_those_of_the_source(depth):
    source = Prefetch(Counting(), depth)
    for number in range(20):
        assert source.cursor()["n"].tolist() == [number]
        assert taken(source, 1) == [number]


def test_no_more_than_depth_batches_are_prepared():
    inner = Counting()
    source = Prefetch(inner, 3)
    assert inner.number == 0, "no batch is prepared before the first call of next"
    taken(source, 1)
    assert eventually(lambda: inner.number == 4)
    time.sleep(0.05)
    assert inner.number == 4
    taken(source, 2)
    assert eventually(lambda: inner.number == 6)


def test_seek_and_reset_discard_prefetched_batches():
    source = Prefetch(Counting(), 3)
    taken(source, 5)
    assert source.fits({"n": np.array([17])})
    assert taken(source, 2) == [5, 6], "fits does not move the cursor"
    source.seek({"n": np.array([17])})
    assert source.cursor()["n"].tolist() == [17]
    assert taken(source, 2) == [17, 18]
    source.reset()
    assert taken(source, 2) == [0, 1]


def test_an_error_is_raised_by_next_every_time():
    source = Prefetch(Counting(bad=2), 4)
    assert taken(source, 2) == [0, 1]
    for _ in range(2):
        with refused("invalid", value=2):
            source.next()
    assert source.cursor()["n"].tolist() == [2]
    assert threads() == []


def test_the_thread_ends_when_the_source_is_closed_or_collected():
    source = Prefetch(Counting(), 2)
    taken(source, 1)
    assert len(threads()) == 1
    source.close()
    assert threads() == []
    assert taken(source, 1) == [1], "the source resumes where it was closed"
    del source
    gc.collect()
    assert eventually(lambda: not threads())


def test_collection_under_a_lock_that_the_thread_waits_for_does_not_block():
    lock = threading.Lock()

    class Locked(Counting):
        def next(self):
            with lock:
                return super().next()

    source = Prefetch(Locked(), 2)
    taken(source, 1)
    with lock:
        source._line.free.put(None)  # the thread asks for the lock
        del source
        gc.collect()
    assert eventually(lambda: not threads())


def test_batches_are_prepared_while_others_are_used():
    source = Prefetch(Counting(pause=0.05), 2)
    source.next()
    start = time.perf_counter()
    for _ in range(10):
        time.sleep(0.05)
        source.next()
    assert time.perf_counter() - start < 0.9, "in sequence they take at least 1 s"


def test_the_depth_is_the_prefetch_field_of_the_layer(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    message = layer()
    prefetched = ahead(open_source(message, base_dir=tmp_path, rng=CRand()))
    assert isinstance(prefetched, Prefetch)
    assert prefetched.prefetch == 4
    message.data_param.prefetch = 7
    assert ahead(open_source(message, base_dir=tmp_path, rng=CRand())).prefetch == 7
    message.data_param.prefetch = 0
    assert not isinstance(ahead(open_source(message, base_dir=tmp_path, rng=CRand())), Prefetch)
    counting = Counting()
    assert ahead(counting) is counting


def test_a_cursor_excludes_the_random_numbers_of_prefetched_batches(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p, i) for i, p in enumerate(pictures(7))])

    def fresh(seed):
        return ahead(open_source(layer(crop_size=4, mirror=True), base_dir=tmp_path, rng=CRand(random_seed=seed)))

    source = fresh(1)
    for _ in range(3):
        source.next()
    cursor = {name: values.copy() for name, values in source.cursor().items()}
    expected = [source.next()["data"] for _ in range(6)]
    other = fresh(2)
    other.next()
    other.seek(cursor)
    assert all(torch.equal(other.next()["data"], batch) for batch in expected)


PROGRAM = """
import sys
from caffe_compat.data import CRand, ahead, open_source
from caffe_compat.schema import caffe_pb2 as pb
assert "cv2" not in sys.modules, "nets that read no images do not import OpenCV"
layer = pb.LayerParameter.FromString(bytes.fromhex(sys.argv[1]))
source = ahead(open_source(layer, base_dir=sys.argv[2], rng=CRand()))
print(source.next()["data"].shape[0])
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        *(pytest.param(end, code, marks=pytest.mark.slow) for end, code in (("raise SystemExit(3)", 3), ("1 / 0", 1))),
    ],
)
def test_a_program_exits_while_a_batch_is_being_prepared(tmp_path, end, code):
    coded = cv2.imencode(".png", pictures(1, (60, 60, 3))[0])[1].tobytes()
    write_lmdb(tmp_path / "db", [pb.Datum(data=coded, encoded=True)] * 9)
    message = layer(batch=64).SerializeToString().hex()
    arguments = [sys.executable, "-c", PROGRAM.format(end=end), message, str(tmp_path)]
    process = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (code, "64\n")
    assert ("ZeroDivisionError" if end == "1 / 0" else "") in process.stderr
    assert "thread" not in process.stderr
