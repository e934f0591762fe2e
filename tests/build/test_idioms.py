"""A net is a torch module like any other: what torch's users do to one has the effect that it has with fast=False.

Each row of the tables is run on four nets, fast and not, in inference and in training.
"""

import inspect
import sys

import pytest
import torch

from caffe_compat.build import watch as build_watch
from caffe_compat.kernels.fast import watch
from caffe_compat.kernels.fast.library import vector_lengths
from tests.build.idioms import inference, training
from tests.build.idioms.nets import load

ROUNDED = 2e-5
"""float32 sums in two orders, of the largest value, after some layers."""
CHANGED = 3e-3
"""Of the largest gradient: where two values of a pooling or at a ReLU's bend differ by rounding alone, a gradient goes
another way, in torch's kernels as in ours. A change that is passed over is larger by far."""
SEEN = 1e-3
"""Of the largest value: no less does an idiom change that writes."""
SMALL = 1e-3
"""Gradients below this part of the largest of all are compared with that part: a bias below a norm has the gradient 0."""

AUTHORS = {"CNN+D", "SR-FCN"}

pytestmark = [
    pytest.mark.skipif(not vector_lengths(), reason="installed without a compiler"),
    pytest.mark.filterwarnings("ignore"),  # torch's of its own deprecations
]


def result(row, net, x, folder):
    """Return what a row returns, or the error that it raises."""
    torch.manual_seed(0)
    more = (folder,) if "folder" in inspect.signature(row.run).parameters else ()
    try:
        return row.run(net, x, *more)
    except Exception as error:
        if not row.raises:
            raise
        return type(error)


def leaves(value):
    """Yield the parts of a result in order."""
    if isinstance(value, dict):
        value = [part for _, part in sorted(value.items())]
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def distance(a, b, scale=0.0):
    """Return how far two tensors are apart, of the largest value of the second, or of `scale` if that is larger."""
    a, b = a.double(), b.double()
    if a.shape != b.shape:
        return float("inf")
    return float((a - b).abs().max() / max(b.abs().max(), scale, 1e-9)) if b.numel() else 0.0


def magnitude(results):
    """Return the largest value of some tensors."""
    return max((float(x.abs().max()) for x in results if isinstance(x, torch.Tensor) and x.numel()), default=0.0)


def compare(row, name, tolerance, folder, *, train):
    results = []
    for fast in (True, False):
        net, x = load(name, fast=fast)
        (folder / str(fast)).mkdir()
        results.append([*leaves(result(row, net.train(train), x, folder / str(fast)))])
    ours, theirs = results
    assert row.raises == isinstance(theirs[0], type), theirs[0]
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, torch.Tensor):
            assert distance(a, b, SMALL * magnitude(theirs)) <= tolerance
        else:
            assert a == b
    return theirs


def untouched(name, *, train):
    """Return what the rows that write must not return."""
    net, x = load(name, fast=False)
    return [*leaves(training.gradients(net.train(), x) if train else inference.passed(net, x))]


def parameters(table):
    """Return each row with each of its nets; the authors' are slow, and left to `make test-all` where others will do."""
    for row in table:
        for name in row.nets:
            slow = row.slow or (name in AUTHORS and not AUTHORS.issuperset(row.nets))
            yield pytest.param(row, name, id=f"{row.name}-{name}", marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("row", "name"), [*parameters(inference.TABLE)])
def test_in_inference(row, name, tmp_path):
    theirs = compare(row, name, ROUNDED, tmp_path, train=False)
    if row.writes:
        assert distance(theirs[0], untouched(name, train=False)[0]) > SEEN


@pytest.mark.parametrize(("row", "name"), [*parameters(training.TABLE)])
def test_in_training(row, name, tmp_path):
    theirs = compare(row, name, CHANGED, tmp_path, train=True)
    if row.writes:
        before = untouched(name, train=True)
        assert len(theirs) != len(before) or any(distance(a, b) > SEEN for a, b in zip(theirs, before, strict=True))


def test_every_net_of_the_tables_runs_compiled():
    for name in ("CNN+D", "SR-FCN", "xception", "mixed"):
        net, x = load(name, fast=True)
        inference.passed(net, x)
        with torch.no_grad():
            assert net._fast_net().ready((x,))


WITHOUT = [  # what is missing, and what would go unseen
    (missing, row)
    for missing, kind in (("offsets", "weight: "), ("version", "module: "))
    for row in inference.TABLE
    if row.name.startswith(kind) and row.writes and "mixed" in row.nets
]


@pytest.mark.parametrize(("missing", "row"), WITHOUT, ids=lambda value: getattr(value, "name", value))
def test_without_what_a_watch_looks_into_nothing_is_stale(missing, row, tmp_path, monkeypatch):
    """A torch of which the private names are gone, and a Python whose dicts have no version."""
    absent = {"offsets": lambda: None, "version": lambda: 0}[missing]
    for module in (watch, build_watch):
        monkeypatch.setattr(module, missing, absent, raising=False)
    theirs = compare(row, "mixed", ROUNDED, tmp_path, train=False)
    assert distance(theirs[0], untouched("mixed", train=False)[0]) > SEEN


def test_what_asks_for_a_pointer_but_writes_nothing_keeps_the_programs():
    net, x = load("mixed", fast=True)
    first = inference.passed(net, x)
    segments = net._fast_net()._segments
    before = [dict(segment.programs) for segment in segments]
    for tensor in inference.tensors(net):
        tensor.data_ptr()
    net.register_forward_hook(lambda *_: None).remove()
    net.train().eval()
    assert torch.equal(inference.passed(net, x), first)
    assert [dict(segment.programs) for segment in segments] == before
    inference.conv(net).weight.data.mul_(2)
    inference.passed(net, x)
    assert [dict(segment.programs) for segment in segments] != before


def test_this_torch_and_this_python_can_be_looked_into():
    """Elsewhere passes are right but slower: this tells when a new release has to be looked at."""
    assert watch.offsets() is not None
    assert watch.version() or sys.version_info >= (3, 13)
