"""Texts of fork nets with something changed: they build, or are refused by name; nothing else happens."""

import math
import random
import re

import pytest

from caffe_compat.build.net import build_net
from caffe_compat.errors import CaffeCompatError
from tests.layers.test_forks_nets import FAMILIES
from tests.nets import build_graph

VALUES = "0 -1 1 2 3 7 4294967295 2147483647 1e38 inf nan -0.5 0.3 true false CORNER x".split()  # noqa: SIM905


def changed(text: str, rng: random.Random) -> str:
    """The text with one to three values, words or signs changed, taken out or put in."""
    words = re.findall(r'"[^"]*"|[\w.+-]+|[{}:]|\s+', text)
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(words)), rng.random()
        values = [i for i, w in enumerate(words) if re.fullmatch(r"[-\d.][\d.e+-]*|true|false|[A-Z_]{3,}", w)]
        fields = [i for i, w in enumerate(words) if re.fullmatch(r"[a-z_]+", w)]
        if kind < 0.5:
            words[rng.choice(values)] = rng.choice(VALUES)
        elif kind < 0.7:
            del words[at]
        elif kind < 0.85:
            words.insert(at, rng.choice(words))
        else:
            words[rng.choice(fields)] = words[rng.choice(fields)]
    return "".join(words)


def refusal(text: str, fork: str | None) -> str | None:
    """Build a net; return what it was refused with, or None."""
    try:
        graph = build_graph(text, fork=fork)
        if sum(math.prod(slot.blob.shape) for slot in graph.slots) < 1e6:
            build_net(graph, seed=0)
    except CaffeCompatError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # torch of a convolution of no channels
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_changed_net_builds_or_is_refused_by_name(family, count):
    rng = random.Random(f"{family} {count}")
    refusals = [
        refusal(changed(FAMILIES[family][0], rng), rng.choice([None, family, "ssd", "yjxiong"])) for _ in range(count)
    ]
    assert 0 < refusals.count(None) < count
    assert "" not in refusals
