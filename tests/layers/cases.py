"""Layers to compare with their transcriptions in tests/reference, forward and backward."""

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from tests.layers.agreement import Values
from tests.reference.caffe_neurons import Neuron


@dataclass(frozen=True)
class Case:
    """One layer `l` with bottoms x0, x1, ..., and what `agree` takes.

    Attributes
    ----------
    type : layer type.
    shapes : shapes of the bottoms.
    body : text of the layer's message.
    labels : values of the bottoms that are not drawn.
    """

    type: str
    shapes: list[tuple[int, ...]]
    body: str = ""
    tops: tuple[str, ...] = ("y",)
    extra: str = ""
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    values: Values = field(default_factory=Values)
    phase: str = "TEST"
    fork: str | None = None
    forwards: int = 1
    tolerance: float | None = None
    feed: dict[str, tuple[int, ...]] | None = None

    def __str__(self):
        options = [self.fork or "", self.type, *map(str, self.shapes), self.body, self.extra, self.phase]
        return " ".join([*filter(None, options), *["grid"] * self.values.grid])


def bodies(type_, shapes, template, texts, **options):
    """Return a case for each text in place of the template's %s."""
    return [Case(type_, shapes, template % text, **options) for text in texts]


def normal_and_grid(cases):
    """Return each case with values drawn from the normal distribution, and with small integers."""
    return [replace(case, values=Values(case.values.seed, grid)) for grid in (False, True) for case in cases]


def labels(**values):
    return {blob: np.asarray(value, "f4") for blob, value in values.items()}


MAP, X = (2, 4, 5, 6), (2, 4, 3, 6)
FLAGS = ("true", "false")

NEURONS = {kind.__name__: [""] for kind in Neuron.__subclasses__()} | {
    "Clip": ["clip_param { min: -1 max: 1 }", "clip_param { min: 0.3 max: 0.2 }"],
    "ELU": ["", "elu_param { alpha: 0.3 }", "elu_param { alpha: -2 }"],
    "Exp": ["", "exp_param { base: 2 scale: 0.5 shift: -1 }", "exp_param { shift: 1 }", "exp_param { base: 0.5 }"],
    "Log": ["log_param { shift: 5 }", "log_param { base: 2 scale: -0.5 shift: 6 }", "log_param { base: 10 shift: 4.5 }"],
    "Power": [""] + [
        f"power_param {{ {fields} }}" for fields in (
            "power: 2 scale: 3 shift: -1", "power: 3", "power: 3 shift: 1 scale: 2", "power: 0", "power: 0.5 shift: 5",
            "scale: 0 shift: 2 power: 3", "scale: -2",
        )
    ],
    "PReLU": ["", "prelu_param { channel_shared: true }"],
    "Swish": ["", "swish_param { beta: -1.7 }"],
    "Threshold": ["", "threshold_param { threshold: 1 }"],
}  # fmt: skip
"""Type -> texts of its message."""

VALUE_BY_VALUE = [
    *normal_and_grid([
        Case(type_, [(2, 3, 4)], body, values=Values(3)) for type_, texts in NEURONS.items() for body in texts
    ]),
    *(Case(type_, [(2, 3)], NEURONS[type_][0], ("x0",), values=Values(3)) for type_ in sorted(set(NEURONS) - {"AbsVal"})),
    Case("ReLU6", [(1, 6)], labels=labels(x0=[[-1, 0, 3, 6, 7, 5.5]])),  # a gradient passes between 0 and 6
]  # fmt: skip

MOVES = [
    Case("Crop", [X, (2, 4, 2, 3)]),
    Case("Crop", [X, (1, 2, 2, 3)], "crop_param { axis: 1 offset: 1 }"),
    Case("Crop", [X, (1, 2, 2, 3)], "crop_param { axis: -3 offset: 2 offset: 0 offset: 3 }"),
    *bodies("Flatten", [X], "flatten_param { %s }", ["", "axis: 0 end_axis: -2", "axis: 2 end_axis: 1"]),
    *bodies("Reshape", [X], "reshape_param { %s }", [
        "shape { dim: 0 dim: -1 dim: 6 }", "shape { dim: 2 dim: 2 } axis: 1 num_axes: 1",
        "shape { dim: 1 } axis: -1 num_axes: 0", "shape { dim: -1 dim: 0 dim: 2 } axis: 1 num_axes: 2",
    ]),
    Case("Slice", [X], tops=("y0", "y1")),
    Case("Slice", [X], "slice_param { axis: -1 slice_point: 1 slice_point: 3 }", ("y0", "y1", "y2")),
    Case("Slice", [X], "slice_param { slice_dim: 3 }", ("y0", "y1", "y2")),
    Case("Slice", [X]),
    *bodies("Tile", [X], "tile_param { %s }", ["tiles: 3", "axis: -1 tiles: 2"]),
    *bodies("Bias", [X], "bias_param { %s }", ["num_axes: 2", "axis: -2 num_axes: -1", "num_axes: 0"]),
    Case("Bias", [X, (4, 3)]),
    Case("Bias", [X, ()], "bias_param { axis: 2 }"),
    *bodies("MVN", [X], "mvn_param { %s }", ["", "eps: 0.5", "across_channels: true eps: 0.01"]),
    Case("MVN", [(3, 4, 5)], "mvn_param { normalize_variance: false }"),
    Case("MVN", [(3, 4)], "mvn_param { across_channels: true }"),
    Case("Parameter", [], "parameter_param { shape { dim: 2 dim: 3 } }"),
    *bodies("Reduction", [X], "reduction_param { %s }", [
        f"operation: {op} axis: {axis} coeff: {coeff}"
        for op in ("SUM", "ASUM", "SUMSQ", "MEAN") for axis, coeff in ((0, 1), (-2, 0.5))
    ]),
    *bodies("ArgMax", [X], "argmax_param { %s }", [
        "", "top_k: 5 out_max_val: true", "axis: -1 top_k: 3", "axis: 0 top_k: 2 out_max_val: true",
    ]),
    Case("ArgMax", [(3, 5)], "argmax_param { top_k: 2 }"),
]  # fmt: skip

SHAPES = [
    *normal_and_grid([replace(case, values=Values(4)) for case in MOVES]),
    Case("BatchReindex", [(3, 2, 2), (5,)], labels=labels(x1=[2, 0, 0, 1, 2])),
    Case("Embed", [(2, 3)], "embed_param { num_output: 4 input_dim: 3 }", labels=labels(x0=[[2, 0, 0], [1, 2, 2]])),
    Case("Embed", [(3,)], "embed_param { num_output: 2 input_dim: 9 bias_term: false }", labels=labels(x0=[8, 8, 1])),
    # Sizes other than the definition's
    Case("Flatten", [(2, 3, 4)], feed={"x0": (5, 3, 4)}),
    Case("Reshape", [(2, 3, 4)], "reshape_param { shape { dim: 0 dim: -1 } }", feed={"x0": (5, 3, 6)}),
    Case("Tile", [(2, 3, 4)], "tile_param { tiles: 2 }", feed={"x0": (1, 5, 4)}),
    Case("Slice", [(2, 4, 4)], "slice_param { slice_point: 1 }", ("y", "z"), feed={"x0": (3, 6, 1)}),
    Case("MVN", [(2, 3, 4, 4)], feed={"x0": (1, 2, 5, 6)}),
    Case("Reduction", [(2, 3)], "reduction_param { axis: 1 operation: MEAN }", feed={"x0": (4, 7)}),
]

WINDOWS = [
    ((2, 3, 5, 6), "kernel_size: 3 stride: 2 pad: 1"),
    ((2, 3, 5, 6), "kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1"),
    ((1, 2, 7), "kernel_size: 3 dilation: 2"),
    ((1, 2, 4, 3, 4), "kernel_size: 2 kernel_size: 1 kernel_size: 3 stride: 2 pad: 0 pad: 0 pad: 1"),
    ((2, 2, 2, 5, 4), "kernel_size: 2 axis: 2"),
    ((3, 4, 5), "kernel_size: 2 axis: 0"),
]
BEYOND = [
    ((2, 3, 3, 5), "kernel_size: 4 stride: 2"),
    ((2, 3, 3, 4), "kernel_h: 5 kernel_w: 3 stride_h: 3 stride_w: 1"),
    ((1, 2, 2), "kernel_size: 3 dilation: 2 stride: 4 pad: 1"),
    ((1, 2, 4, 3, 4), "kernel_size: 5 stride: 3"),
    ((3, 3, 5), "kernel_size: 4 stride: 2 axis: 0"),
]
"""Kernels that reach beyond the padded bottom by less than their stride: C++ rounds towards zero, so there is one output."""

COLUMNS = [
    *(
        Case("Im2col", [shape], f"convolution_param {{ {body} }}")
        for shape, body in [*WINDOWS, *BEYOND, ((1, 2, 3, 9, 9), "kernel_size: 3 axis: -3 dilation: 3")]
    ),
    *(
        Case(type_, [shape] * bottoms, f"convolution_param {{ num_output: 2 {body} }}", ("y", "z")[:bottoms])
        for type_, windows in (("Convolution", BEYOND), ("Deconvolution", WINDOWS))
        for (shape, body), bottoms in product(windows, (1, 2))
    ),
    *bodies("Deconvolution", [(2, 4, 3, 3)], "convolution_param { kernel_size: 4 stride: 2 pad: 1 %s }", [
        "group: 2 num_output: 4", "group: 4 num_output: 4 bias_term: false", "group: 4 num_output: 8",
    ]),
    Case("Deconvolution", [(1, 2, 1, 1)], "convolution_param { kernel_size: 4 num_output: 3 }"),
    *(
        Case("SPP", [shape], f"spp_param {{ pyramid_height: {height} pool: {pool} }}", values=Values(grid=grid))
        for (shape, height), pool, grid in product(
            [((2, 3, 10, 8), 3), ((1, 2, 7, 9), 3), ((1, 2, 5, 5), 1), ((1, 2, 6, 11), 2)], ("MAX", "AVE"), (False, True)
        )
    ),
]  # fmt: skip

CONT = labels(x1=[[1, 0], [1, 1], [0, 1], [0.5, 1]])
STATES = {"LSTM": 2, "RNN": 1}
RECURRENT = [
    *(
        Case(type_, [(4, 2, 3, 2), (4, 2), *[(2, 5)] * static], "recurrent_param { num_output: 3 }", labels=CONT, forwards=forwards)
        for type_, static, forwards in product(STATES, (False, True), (1, 2))
    ),
    *(
        Case(
            type_, [(4, 2, 3), (4, 2), *[(2, 5)] * static, *[(1, 2, 3)] * states],
            "recurrent_param { num_output: 3 expose_hidden: true }", ("y", "h", "c")[: 1 + states], labels=CONT, forwards=2,
        )
        for (type_, states), static in product(STATES.items(), (False, True))
    ),
    Case("LSTMUnit", [(1, 3, 2), (1, 3, 8), (1, 3)], tops=("c", "h"), labels=labels(x2=[[1, 0, 0.5]])),
]  # fmt: skip

CLASSES = [0, 4, 2, 2]
NORMALIZATIONS = ("", "normalize: false", "normalization: FULL", "normalization: BATCH_SIZE", "normalization: NONE")
PROBABILITIES = np.abs(np.random.default_rng(0).standard_normal((4, 5)))
PROBABILITIES[1, 4] = 1e-30
INFOGAIN = [[1, 0.5, 0], [0, 2, -0.25], [0.125, 0, 1]]
PLACES = np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]])

LOSSES = [
    *normal_and_grid([
        *bodies(
            "ContrastiveLoss", [(5, 4), (5, 4), (5, 1)], "contrastive_loss_param { %s }",
            ["", "margin: 2.5", "margin: 9 legacy_version: true", "margin: 3 legacy_version: true"],
            labels=labels(x2=[[1], [0], [0], [2], [0]]), values=Values(6),
        ),
        *bodies(
            "HingeLoss", [(4, 5), (4,)], "hinge_loss_param { %s }", ["norm: L1", "norm: L2"],
            extra="loss_weight: 2", labels=labels(x1=CLASSES), values=Values(6),
        ),
    ]),
    # A dissimilar pair that coincides has no gradient
    Case("ContrastiveLoss", [(1, 2), (1, 2), (1, 1)], labels=labels(x0=[[1, 1]], x1=[[1, 1]], x2=[[0]])),
    Case("MultinomialLogisticLoss", [(4, 5), (4,)], labels=labels(x0=PROBABILITIES, x1=CLASSES)),
    *bodies(
        "SigmoidCrossEntropyLoss", [(4, 3), (4, 3)], "loss_param { %s }",
        [
            f"{mode} {ignore}" for mode in (
                "", "normalization: FULL", "normalization: VALID", "normalization: NONE", "normalize: true", "normalize: false",
            ) for ignore in ("", "ignore_label: 2")
        ],
        labels=labels(x1=[[0, 1, 1], [1, 2, 0], [1, 0, 0], [0, 1, 2]]),
    ),
    *(
        case for tops in (("y",), ("y", "p")) for case in bodies(
            "InfogainLoss", [(2, 3, 2, 2), (2, 2, 2), (1, 1, 3, 3)], "loss_param { %s }",
            ["", "normalization: FULL", "normalization: NONE", "normalization: BATCH_SIZE", "ignore_label: 1"],
            tops=tops, labels=labels(x1=PLACES, x2=[[INFOGAIN]]), values=Values(3),
        )
    ),
    Case(
        "InfogainLoss", [(2, 2, 3), (2, 2), (3, 3)], "infogain_loss_param { axis: -1 }",
        labels=labels(x1=PLACES[:, 0], x2=INFOGAIN), values=Values(4),
    ),
    # Probabilities below 1e-20 count as 1e-20, and go back as they are
    Case("InfogainLoss", [(1, 3), (1,), (3, 3)], labels=labels(x0=[[0, 60, 1]], x1=[0], x2=INFOGAIN)),
    *(
        case for axis in (1, -3) for case in bodies(
            "SoftmaxWithLoss", [(2, 3, 1, 2), (2, 1, 2)],
            f"softmax_param {{ axis: {axis} }} loss_param {{ weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 1.25 %s }}",
            ["ignore_label: 1", "normalize: false", ""], labels=labels(x1=[[[0, 1]], [[2, 1]]]), values=Values(8),
        )
    ),
    *(
        case for type_ in ("SoftmaxWithLoss", "SoftmaxWithLossOHEM") for case in bodies(
            type_, [(2, 3, 1, 2), (2, 1, 2)], "loss_param { %s }", [*NORMALIZATIONS, "ignore_label: 1"],
            tops=("y", "p", "each"), labels=labels(x1=[[[0, 1]], [[2, 1]]]), values=Values(8),
        )
    ),
    *bodies("SmoothL1Loss", [(3, 4)] * 2, "smooth_l1_loss_param { %s }", ["sigma: 1", "sigma: 3"], values=Values(3)),
    *bodies("SmoothL1Loss", [(3, 4)] * 4, "smooth_l1_loss_param { %s }", ["sigma: 1", "sigma: 3"], values=Values(3)),
    *(Case("SmoothL1Loss", [(3, 4, 2, 1)] * bottoms, fork="ssd", values=Values(3)) for bottoms in (2, 3)),
    *(
        case for type_, fork in (("SmoothL1Loss", "rfcn"), ("SmoothL1LossOHEM", "py-rfcn")) for bottoms in (2, 3)
        for case in bodies(
            type_, [(3, 4, 2, 1)] * bottoms, "loss_param { %s }", [*NORMALIZATIONS, "normalization: PRE_FIXED pre_fixed_normalizer: 7"],
            tops=("y", "z"), fork=fork, values=Values(3),
        )
    ),
    *(
        Case(
            "CenterLoss", [shape, (5,)], "center_loss_param { num_output: 4 }", extra="loss_weight: 0.25",
            labels=labels(x1=[0, 2, 2, 1, 2]), values=Values(4),
        )
        for shape in ((5, 4), (5, 2, 1, 3))
    ),
    *bodies(
        "MarginInnerProduct", [(40, 2), (40,)], "margin_inner_product_param { num_output: 6 %s }",
        [
            f"type: {margin} {fall}" for margin in ("SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE")
            for fall in ("", "base: 1000 gamma: 0.12 power: 1 lambda_min: 5 iteration: 30", "base: 0")
        ],
        tops=("y", "l"), labels=labels(x1=np.random.default_rng(5).integers(0, 6, 40)), values=Values(6),
    ),
    *bodies(
        "CtcLoss", [(5, 4, 4), (4, 3)], "ctc_loss_param { alphabet_size: 4 blank_label: 3 %s }",
        ["time_step: 4", "time_step: 5"],
        labels=labels(x1=[[0, 1, 3], [1, 1, 3], [2, 3, 3], [0, 0, 0]]), values=Values(7),
    ),
]  # fmt: skip

FORKS = [
    *(
        case for shape in (MAP, (3, 4)) for case in bodies("Normalize", [shape], "norm_param { eps: 0.25 %s }", [
            f"across_spatial: {across} channel_shared: {shared}" for across, shared in product(FLAGS, FLAGS)
        ], values=Values(3))
    ),
    *(
        case for tops in (("y",), ("y", "z")) for case in bodies(  # its norms are the second top
            "Normalize", [MAP], "normalize_param { %s }",
            ["", 'normalize_type: "L1"', "bp_norm: true", 'normalize_type: "L1" bp_norm: true'],
            tops=tops, fork="happynear", values=Values(4),
        )
    ),
    *bodies(
        "Permute", [MAP], "permute_param { %s }", ["", "order: 0 order: 2 order: 3 order: 1", "order: 3", "order: 2 order: 0"],
        values=Values(3),
    ),
    *bodies("PriorBox", [(2, 1, 3, 5), (2, 3, 90, 150)], "prior_box_param { %s }", [
        "min_size: 30",
        "min_size: 30.7 max_size: 60.2 aspect_ratio: 2 aspect_ratio: 3",
        "min_size: 20 min_size: 30 max_size: 31 max_size: 47 aspect_ratio: 2 flip: false clip: true",
        "min_size: 30 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 step: 8 offset: 0.3",
        "min_size: 30 img_size: 300 variance: 0.3 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2",
        "min_size: 30 img_h: 300 img_w: 200 step_h: 7.1 step_w: 9.7 aspect_ratio: 0.3",
    ], values=Values(3)),
    *bodies("Interp", [(2, 2, 5, 6)], "interp_param { %s }", [
        "height: 9 width: 4", "zoom_factor: 3", "shrink_factor: 2", "zoom_factor: 2 shrink_factor: 3", "height: 5 width: 6",
        "height: 1 width: 7", "zoom_factor: 2 pad_beg: -1 pad_end: -2", "height: 7 width: 8 zoom_factor: 2 shrink_factor: 2",
        "height: 7 width: 8 shrink_factor: 2",
    ], values=Values(3)),
    *(Case("Axpy", [shape, MAP, MAP], values=Values(3)) for shape in ((2, 4), (2, 4, 1, 1))),
    *bodies(
        "DepthwiseConvolution", [MAP], "convolution_param { num_output: 4 group: 4 %s }",
        ["kernel_size: 3", "kernel_size: 3 pad: 1 stride: 2 bias_term: false", "kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0"],
        values=Values(3), tolerance=1e-9,
    ),
    *bodies("ConvolutionDepthwise", [MAP], "convolution_param { %s }", [
        "kernel_size: 3", "num_output: 4 kernel_size: 3 pad: 1 stride: 2 bias_term: false", "kernel_size: 2 dilation: 2",
        "group: 2 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2",
    ], values=Values(3), tolerance=1e-9),
    *bodies(
        "ShuffleChannel", [(2, 6, 2, 3)], "shuffle_channel_param { %s }", [f"group: {group}" for group in (1, 2, 3, 6)],
        values=Values(3),
    ),
    *bodies("Upsample", [MAP], "upsample_param { %s }", ["scale: 1", "scale: 2", "scale: 3"], values=Values(3)),
    *(
        Case(
            "Upsample", [(2, 2, 2, 3)] * 2, f"upsample_param {{ {body} }}",
            labels=labels(x1=np.random.default_rng(0).permuted(np.tile(np.arange(size), (4, 1)), axis=1)[:, :6].reshape(2, 2, 2, 3)),
        )
        for body, size in {
            "scale: 2": 24, "scale_h: 3 scale_w: 2": 36, "upsample_h: 3 upsample_w: 5": 15, "pad_out_h: true": 18,
            "pad_out_w: true pad_out_h: true": 15,
        }.items()
    ),
    # Where pooling windows overlapped, the later value stays and all get its gradient
    Case("Upsample", [(1, 1, 2, 2)] * 2, "upsample_param { scale: 2 }", labels=labels(x1=[[[[3, 3], [1, 3]]]])),
    *bodies("Pooling", [MAP], "pooling_param { kernel_size: 3 stride: 2 %s }", [
        f"pool: {pool} ceil_mode: {up}" for pool, up in product(("MAX", "AVE"), FLAGS)
    ], values=Values(3)),
    *(
        case for phase in ("TRAIN", "TEST") for case in bodies(
            "BN", [MAP], "bn_param { %s }", ["", "bn_mode: LEARN", "bn_mode: INFERENCE"],
            fork="segnet", phase=phase, values=Values(6), tolerance=1e-8,
        )
    ),
    *(
        case for fork, phase in product(("pspnet", "yjxiong", "happynear"), ("TRAIN", "TEST")) for case in bodies(
            "BN", [MAP], "bn_param { slope_filler { value: 1 } %s }", ["eps: 0.1", "momentum: 0.7", "frozen: true"],
            fork=fork, phase=phase, forwards=2, values=Values(7),
        )
    ),
    Case("ContinuationIndicator", [], "continuation_indicator_param { time_step: 3 batch_size: 2 }"),
    Case(
        "LabelsequenceAccuracy", [(4, 5, 4), (4, 3)], "labelsequence_accuracy_param { blank_label: 3 }",
        labels=labels(
            x0=np.eye(4)[[[3, 0, 0, 3, 1], [1, 3, 1, 1, 3], [2, 2, 2, 0, 3], [0, 3, 0, 0, 1]]],
            x1=[[0, 1, 3], [3, 1, 1], [2, 3, 3], [0, 0, 1]],
        ),
    ),
    *(
        Case(
            "SegAccuracy", [(2, 4, 4, 5), (2, 1, 4, 5)], f"seg_accuracy_param {{ {body} }}", forwards=2, values=Values(2, grid=True),
            labels=labels(x1=np.random.default_rng(1).choice([0, 2, 9, 1] if body else [0, 1, 2], (2, 1, 4, 5))),
        )
        for body in ("", "ignore_label: 1 ignore_label: 9", "ignore_label: 1 ignore_label: 9 reset: false")
    ),
    *(
        Case("ImResize", [shape], f"imresize_param {{ {body} }}", values=Values(9), tolerance=1e-9)
        for shape, body in (
            ((1, 2, 5, 7), "factor: 8"),
            ((3, 1, 9, 12), "factor: 2 start_scale: 1 scale_gap: 0.3"),
            ((2, 1, 6, 8), "target_spatial_width: 11 target_spatial_height: 4 start_scale: 0.9"),
            ((1, 1, 3, 4), "target_spatial_width: 2 target_spatial_height: 3"),
        )
    ),
    *(
        case for shape in ((1, 3, 12, 9), (1, 3, 8, 14), (2, 4, 7, 7), (1, 3, 3, 3)) for case in bodies(
            "Nms", [shape], "nms_param { %s }", ["num_parts: 3", "num_parts: 2 threshold: 0.1 max_peaks: 2"],
            values=Values(10), tolerance=1e-6,
        )
    ),
]  # fmt: skip

REGIONS = np.array(
    [[0, 0, 0, 5, 4], [1, 1.4, 0.6, 3.6, 2.5], [0, -3, -2.5, 2, 1], [1, 4, 3, 9, 9], [0, 3, 3, 1, 1], [0, 20, 20, 30, 30]],
    "f4",
)  # fmt: skip
IN_PIXELS = np.array(
    [[0, 0, 0, 40, 30], [1, 11.4, 5.6, 33.6, 20.5], [0, -30, -25, 20, 10], [1, 40, 30, 90, 90], [0, 30, 30, 10, 10], [0, 200, 200, 300, 300]],
    "f4",
)  # fmt: skip


def hard_regions(shape, regions):
    """Return the case that takes the regions with the largest loss of each image."""
    rng = np.random.default_rng(regions)
    count = (shape[0], *shape[2:])
    rois = np.insert(rng.uniform(size=(shape[0], 4, *shape[2:])), 0, rng.integers(0, 3, count), 1).astype("f4")
    return Case(
        "BoxAnnotatorOHEM", [rois.shape, shape, shape, (shape[0], 8, *shape[2:])],
        f"box_annotator_ohem_param {{ roi_per_img: {regions} ignore_label: -1 }}", ("y", "z"),
        labels=labels(x0=rois, x2=rng.integers(0, 4, shape)), values=Values(2),
    )  # fmt: skip


BOXES = [
    *(
        Case(
            "ROIPooling", [(2, 2, 5, 6), REGIONS.shape],
            f"roi_pooling_param {{ pooled_h: {high} pooled_w: {wide} spatial_scale: {scale} }}",
            labels=labels(x1=REGIONS * np.array([1, *[1 / scale] * 4], "f4")), values=Values(1, grid=grid),
        )
        for (high, wide), scale, grid in product(((2, 3), (7, 4)), (1, 0.0625), (False, True))
    ),
    *(
        Case(
            "PSROIPooling", [(2, 2 * group * group, 5, 6), IN_PIXELS.shape],
            f"psroi_pooling_param {{ output_dim: 2 group_size: {group} spatial_scale: {scale} }}",
            labels=labels(x1=IN_PIXELS), values=Values(1),
        )
        for group, scale in product((1, 3), (1, 0.125))
    ),
    *(hard_regions(shape, regions) for shape, regions in product(((12, 1), (6, 1, 1, 2)), (1, 3, 20))),
]  # fmt: skip

CASES = [*VALUE_BY_VALUE, *SHAPES, *COLUMNS, *RECURRENT, *LOSSES, *FORKS, *BOXES]
