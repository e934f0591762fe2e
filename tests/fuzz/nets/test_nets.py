"""Random nets: the compiled path computes what float64 and torch's modules compute, forward and back."""

import re

import pytest

from caffe_compat.kernels.fast.library import vector_lengths
from tests.fuzz.nets.draw import draw
from tests.fuzz.nets.judge import Verdict, judge

needs_code = pytest.mark.skipif(not vector_lengths(), reason="installed without a compiler")
SHORT = range(0, 100, 50)
LONG = range(1000, 3000, 100)


@needs_code
@pytest.mark.parametrize(
    ("first", "count"), [*((n, 50) for n in SHORT), *(pytest.param(n, 100, marks=pytest.mark.slow) for n in LONG)]
)
def test_random_nets_are_what_float64_and_torchs_modules_say(first, count):
    verdict = Verdict()
    for seed in range(first, first + count):
        judge(seed, verdict)
    assert not verdict.problems, verdict.report()
    counts = verdict.counts
    assert counts["nets"] == count
    assert counts["nets refused"] <= count / 50
    assert counts["nets near a kink"] + counts["nets that drop at random"] <= count / 3
    assert counts["nets on compiled code in TEST"] >= count * 0.7
    assert counts["nets on compiled code in TRAIN"] >= count * 0.1
    assert min(counts["output"], counts["training output"], counts["gradient"]) > count
    compared = sum(number for name, number in counts.items() if name in {"output", "training output", "gradient"})
    assert sum(number for name, number in counts.items() if "ill-conditioned" in name) < compared / 20


def test_definitions_have_all_the_layers_in_use_and_are_the_same_every_time():
    texts = [draw(seed) for seed in range(200)]
    assert texts == [draw(seed) for seed in range(200)]
    types = set(re.findall(r"type: '([A-Z][A-Za-z0-9]+)'", "".join(texts)))
    assert types >= {
        "Convolution", "Deconvolution", "InnerProduct", "Pooling", "ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "AbsVal",
        "Power", "Scale", "Bias", "BatchNorm", "LRN", "MVN", "Concat", "Slice", "Split", "Eltwise", "Softmax", "Flatten",
        "Reshape", "Crop", "Dropout", "Tile", "Interp", "ShuffleChannel", "Permute", "BNLL", "Swish", "Clip", "ReLU6",
    }  # fmt: skip
