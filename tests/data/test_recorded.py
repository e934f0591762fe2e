"""Data layers reproduce genuine Caffe 1.0 bit for bit from the same files and seed."""

import json
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.data import CRand, MemorySource, Prefetch, open_layers
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import write_leveldb, write_lmdb

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
CASES = json.loads((GOLDEN / "cases.json").read_text())["cases"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The recorded input files, and the records of the databases."""
    folder = tmp_path_factory.mktemp("inputs")
    databases = {}
    with np.load(GOLDEN / "inputs.npz") as content:
        for name in content.files:
            first, _, key = name.partition("/")
            if first.endswith("_lmdb"):
                databases.setdefault(first, []).append((key.encode(), content[name].tobytes()))
            else:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content[name].tobytes())
    for name, records in databases.items():
        write_lmdb(folder / name, records)
    return folder, databases


@pytest.fixture
def folder(inputs, monkeypatch):
    monkeypatch.chdir(inputs[0])
    return inputs[0]


def opened(case, folder, databases, random_seed=None):
    layers = parse_text(case["layers"], pb.NetParameter).layer
    rng = CRand(random_seed=case["random_seed"] if random_seed is None else random_seed)
    if "raw_leveldb" in case["layers"] and not (folder / "raw_leveldb").exists():
        write_leveldb(folder / "raw_leveldb", databases["raw_lmdb"])
    sources = open_layers(layers, rng=rng)
    assert random_seed is not None or rng.draw() == case["next"], "the next random number differs"
    for source in sources:
        if isinstance(source, MemorySource):
            source.add_datums([pb.Datum.FromString(value) for _, value in databases["raw_lmdb"][:8]])
    return sources


@pytest.mark.parametrize("prefetched", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_batches_are_caffes_bit_for_bit(inputs, folder, name, prefetched):
    case = CASES[name]
    sources = opened(case, folder, inputs[1])
    if prefetched:
        sources = [Prefetch(source, 3) for source in sources]
    actual = [value.numpy() for _ in range(case["forwards"]) for source in sources for value in source.next().values()]
    with np.load(GOLDEN / "records.npz") as records:
        expected = [records[key] for key in records.files if key.startswith(f"{name}/")]
    assert len(actual) == len(expected) > 0
    for number, (ours, caffes) in enumerate(zip(actual, expected, strict=True)):
        # Caffe reshapes MemoryData's labels to four axes once they are set.
        assert ours.shape == caffes.shape or (name == "memory" and ours.size == caffes.size), number
        assert ours.tobytes() == caffes.tobytes(), f"top {number} differs by up to {np.abs(ours - caffes).max()}"


@pytest.mark.parametrize("name", CASES)
def test_another_source_goes_on_from_a_cursor(inputs, folder, name):
    other_seed = None if name == "memory" else 99  # MemoryData draws as the caller sets its data
    sources, others = (opened(CASES[name], folder, inputs[1], seed) for seed in (None, other_seed))
    assert sources
    for source, other in zip(sources, others, strict=True):
        for _ in range(3):
            source.next()
        other.next()
        cursor = {key: np.array(value) for key, value in source.cursor().items()}
        assert other.fits(cursor)
        other.seek(cursor)
        for _ in range(6):
            batch, again = source.next(), other.next()
            assert batch
            assert all(np.array_equal(value, again[top]) for top, value in batch.items())
