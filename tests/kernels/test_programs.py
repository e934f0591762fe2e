"""Programs of random steps, against torch in float64, in memory where whatever no step has written is not a number."""

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from caffe_compat.kernels.fast import library
from caffe_compat.kernels.fast.program import Finish, Program, by_tiles
from caffe_compat.layers.functions import Window

ROUNDED = 2e-5
"""float32 against float64, of the largest value: up to eight steps after each other."""
QUICK, ALL = 300, 4000

pytestmark = pytest.mark.skipif(not library.vector_lengths(), reason="installed without a compiler")


@pytest.fixture(autouse=True)
def _dirty_memory(monkeypatch):
    workspace = library.workspace
    monkeypatch.setattr(library, "workspace", lambda floats: workspace(floats).fill_(torch.nan))


class Draw:
    """A random program, and the same layers in float64, value by value."""

    def __init__(self, seed, lanes):
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.program = Program(lanes)
        self.images = self.random.choice([1, 1, 2, 3, 5])
        self.inputs, self.maps, self.names = [], {}, []
        for _ in range(self.random.choice([1, 1, 2])):
            shape = (
                self.random.choice([1, 3, 5, 16, 24, 24]),
                *self.random.choice([(1, 1), (3, 8), (7, 7), (13, 10), (38, 41)]),
            )
            self.inputs.append(self.tensor(self.images, *shape))
            self.maps[self.program.load(*shape)] = self.inputs[-1].double()
        for _ in range(self.random.randint(1, 8)):
            source = self.random.choice([*self.maps])
            step = self.random.choice(
                [
                    self.convolve,
                    self.convolve,
                    self.multiply,
                    self.multiply,
                    self.flatten,
                    self.pool,
                    self.add,
                    self.join,
                ]
            )
            self.names.append(step.__name__)
            step(source)
        self.results = self.random.sample([*self.maps], min(len(self.maps), self.random.randint(1, 3)))
        self.results.append(max(self.maps))
        for index in self.results:
            self.program.store(index)

    def tensor(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def weight(self, *shape):
        return self.tensor(*shape) / torch.Size(shape[1:]).numel() ** 0.5

    def finish(self, index, y, *, pooled=0):
        """Return how a step's sums are finished, and the values that come of it."""
        channels = y.shape[1]
        bias = self.tensor(channels) if self.random.random() < 0.7 else None
        equal = [other for other, values in self.maps.items() if values.shape == y.shape and other != index]
        residual = self.random.choice(equal) if equal and not pooled and self.random.random() < 0.5 else -1
        end = self.random.choice(["", "relu", "slope"])
        slope = self.tensor(channels) if end == "slope" else None
        y = y if bias is None else y + bias.double().view(-1, 1, 1)
        y = y if residual < 0 else y + self.maps[residual]
        y = y.relu() if end == "relu" else y if slope is None else F.prelu(y, slope.double())
        y = F.max_pool2d(y, pooled, pooled, ceil_mode=True) if pooled else y
        return Finish(bias, residual, end == "relu", slope, pooled), y

    def convolve(self, source):
        x = self.maps[source]
        channels, *size = x.shape[1:]
        kernel = self.random.choice([(1, 1), (3, 3), (3, 3), (3, 3), (5, 5), (2, 3)])
        pads = self.random.choice([0, 1, 2, 20]), self.random.choice([0, 1, 3])
        stride, dilation = self.random.choice([(1, 1), (1, 1), (2, 1)]), self.random.choice([(1, 1), (1, 1), (2, 1)])
        window = Window(kernel, stride, pads, dilation)
        if min(window.output((size[0], size[1]))) < 1:
            return
        groups = channels if self.random.random() < 0.2 else 1
        outputs = channels if groups > 1 else self.random.choice([1, 8, 17, 32])
        weight = self.weight(outputs, channels // groups, *kernel)
        y = F.conv2d(x, weight.double(), None, stride, pads, dilation, groups)
        small = groups == 1 and kernel == (2, 3)  # never by tiles, which do not pool
        finish, y = self.finish(source, y, pooled=2 if small and self.random.random() < 0.5 else 0)
        self.maps[self.program.convolution(source, weight, window, groups, finish)] = y

    def multiply(self, source):
        x = self.maps[source].flatten(1)
        weight = self.weight(self.random.choice([1, 7, 16, 33]), x.shape[1])
        finish, y = self.finish(-1, (x @ weight.double().t())[..., None, None])
        self.maps[self.program.inner_product(source, weight, finish)] = y

    def flatten(self, source):
        self.maps[self.program.flatten(source)] = self.maps[source].flatten(1)[..., None, None]

    def pool(self, source):
        x = self.maps[source]
        side = self.random.choice([1, 2, 3])
        average = self.random.random() < 0.5
        if min(x.shape[2:]) < side:
            return
        y = F.avg_pool2d(x, side, 1) if average else F.max_pool2d(x, side, 1)
        window = Window((side, side), (1, 1))
        self.maps[self.program.pooling(source, window, (y.shape[2], y.shape[3]), average=average)] = y

    def add(self, source):
        finish, y = self.finish(source, self.maps[source])
        self.maps[self.program.finish(source, finish)] = y

    def join(self, source):
        shape = self.maps[source].shape
        others = [i for i, x in self.maps.items() if x.shape[2:] == shape[2:] and x.shape[1] % self.program.lanes == 0]
        sources = [*self.random.sample(others, min(len(others), 2)), source]
        self.maps[self.program.join(sources)] = torch.cat([self.maps[index] for index in sources], 1)


def check(seed, threads):
    """Compare a program with float64, and tell whether the compiled code can run it."""
    lanes = random.Random(seed).choice(library.vector_lengths())
    draw = Draw(seed, lanes)
    threads(1 + seed % 3)
    if not draw.program.fits():
        return False
    for result, index in zip(draw.program.compile()(*draw.inputs), draw.results, strict=True):
        exact = draw.maps[index]
        worst = float((result - exact).abs().max() / exact.abs().max().clamp(min=1))
        assert worst < ROUNDED, f"seed {seed}, {lanes} lanes: {worst} at map {index} of {draw.names}"
    return True


def test_random_programs_are_those_of_float64(threads):
    assert sum(check(seed, threads) for seed in range(QUICK)) > 0.99 * QUICK


@pytest.mark.slow
def test_more_random_programs_are_those_of_float64(threads):
    assert sum(check(seed, threads) for seed in range(QUICK, ALL)) > 0.99 * (ALL - QUICK)


@pytest.mark.parametrize("lanes", library.vector_lengths())
@pytest.mark.parametrize("made_by", ["an inner product", "flattening", "a part of a joined map"])
def test_the_padding_of_a_map_of_one_pixel_is_zero(lanes, made_by):
    x = torch.randn(3, 16, 2, 2)
    program = Program(lanes)
    source = program.load(16, 2, 2)
    weight = torch.randn(16, 64)
    if made_by == "flattening":
        source, value = program.flatten(source), x.flatten(1)
    else:
        source, value = program.inner_product(source, weight, Finish()), x.flatten(1) @ weight.t()
    if made_by == "a part of a joined map":
        source = program.join([source, program.inner_product(0, weight, Finish())])
        value = torch.cat([value, value], 1)
    kernel = torch.randn(8, value.shape[1], 3, 3)
    program.store(program.convolution(source, kernel, Window((3, 3), (1, 1), (1, 1)), 1, Finish()))
    (y,) = program.compile()(x)
    torch.testing.assert_close(y, F.conv2d(value[..., None, None], kernel, padding=1), rtol=1e-4, atol=1e-3)


def test_tiles_read_zeros_after_the_channels_of_a_flattened_map():
    x, weight = torch.randn(2, 5, 2, 2), torch.randn(16, 20, 3, 3)
    window = Window((3, 3), (1, 1), (20, 20))
    assert by_tiles(weight, window, 1, window.output((1, 1)))
    program = Program(library.vector_lengths()[0])
    program.store(program.convolution(program.flatten(program.load(5, 2, 2)), weight, window, 1, Finish()))
    (y,) = program.compile()(x)
    torch.testing.assert_close(y, F.conv2d(x.flatten(1)[..., None, None], weight, padding=20), rtol=1e-4, atol=1e-3)


def convolution(shape, kernel, *, outputs=4, stride=1, pad=0, dilation=1, groups=1):
    """Return a program of a convolution of weights that take no memory."""
    program = Program(library.vector_lengths()[0])
    weight = torch.zeros(1).expand(outputs, shape[0] // groups, *kernel)
    window = Window(kernel, *((size, size) for size in (stride, pad, dilation)))
    program.store(program.convolution(program.load(*shape), weight, window, groups, Finish()))
    return program


@pytest.mark.parametrize(
    ("shape", "kernel", "others"),
    [
        ((1, 1200, 1200), (1000, 1000), {}),
        ((1000000, 3, 3), (3, 3), {}),
        ((1, 70000, 70000), (1, 1), {}),
        ((16, 70000, 70000), (3, 3), {"outputs": 16}),
        ((3, 1 << 40, 1), (1, 1), {}),
        ((1 << 33, 1, 1), (1, 1), {}),
        ((3, 5, 5), (3, 3), {"pad": 1 << 31}),
        ((3, 5, 5), (3, 3), {"pad": 30000, "stride": 30000}),
        ((3, 5, 5), (1, 1), {"stride": 1 << 32}),
        ((3, 5, 5), (1, 1), {"dilation": 1 << 32}),
        ((8, 9, 9), (9, 9), {"outputs": 1 << 31}),
        ((3, 2, 2), (3, 3), {}),
    ],
)
def test_sizes_beyond_the_compiled_code_are_refused(shape, kernel, others):
    program = convolution(shape, kernel, **others)
    assert not program.fits()
    with pytest.raises(ValueError, match=r"fits\(\)"):
        program.compile()


def test_more_channels_than_a_block_of_sums_has_are_not_convolved_by_tiles():
    program = convolution((40000, 40, 40), (3, 3), outputs=16)
    assert program.fits()
    assert [step.op for step in program._steps] == [library.Op.LOAD_MAP, library.Op.CONVOLVE, library.Op.STORE_MAP]


def test_flattened_and_pooled_maps_beyond_the_compiled_code_are_refused():
    lanes = library.vector_lengths()[0]
    flattened, pooled, multiplied = Program(lanes), Program(lanes), Program(lanes)
    flattened.flatten(flattened.load(1 << 12, 1 << 10, 1 << 10))
    pooled.pooling(pooled.load(1, 9, 9), Window((1 << 32, 1)), (1, 9), average=False)
    multiplied.inner_product(multiplied.load(4, 1, 1), torch.zeros(1, 1).expand(1 << 31, 4), Finish())
    assert not any(program.fits() for program in (flattened, pooled, multiplied))


@pytest.mark.parametrize(
    ("shape", "kernel", "others"),
    [
        ((1, 70000, 2), (1, 2), {}),
        ((2, 3, 70000), (3, 3), {"pad": 1}),
        ((4096, 2, 2), (2, 2), {}),
        ((1, 70, 60), (64, 50), {"stride": 3}),
        ((2, 90, 90), (3, 3), {"pad": 300, "stride": 97, "dilation": 40}),
        ((20000, 3, 3), (3, 3), {"groups": 20000, "outputs": 20000}),
        ((2400, 40, 40), (3, 3), {"outputs": 16, "pad": 1}),
    ],
)
def test_large_sizes_within_it_are_computed(shape, kernel, others, threads):
    program = convolution(shape, kernel, **others)
    assert program.fits()
    threads(2)
    (step,) = (step for step in program._steps if step.weight is not None)
    weight = torch.randn(step.weight.shape) / step.weight[0].numel() ** 0.5
    program._steps = [replace(step, weight=weight) if step.weight is not None else step for step in program._steps]
    x = torch.randn(2, *shape)
    (y,) = program.compile()(x)
    it = step.window
    exact = F.conv2d(x.double(), weight.double(), None, it.stride, it.pad, it.dilation, others.get("groups", 1))
    assert (y - exact).abs().max() < ROUNDED * exact.abs().max()
