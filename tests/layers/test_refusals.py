"""What a layer cannot do, or Caffe refuses, is refused with the field, the layer and the line."""

import pytest

from tests.layers.agreement import single
from tests.nets import build_net
from tests.refusals import refused

MAP, X, SMALL = (2, 4, 6, 7), (2, 4, 3, 6), (1, 4, 2, 2)
TWO = [(1, 1, 2, 2)] * 2
BOXES = [(1, 8), (1, 4), (1, 2, 8)]


@pytest.mark.parametrize(
    ("layer", "shapes", "code", "field"),
    [
        ("ArgMax argmax_param { top_k: 7 axis: 3 }", [X], "out-of-range", "argmax_param.top_k"),
        ("Axpy", [(1, 2), (1, 3, 2), (1, 3, 2)], "shape-mismatch", "bottom"),
        ("BN bn_param { bn_mode: INFERENCE } top: 'z'", [(1, 1, 2, 2)], "conflict", "top"),
        ("BatchNorm param { lr_mult: 1 }", [MAP], "invalid", "param.lr_mult"),
        ("BatchReindex", [X, (2, 2)], "shape-mismatch", "bottom"),
        ("Bias bias_param { num_axes: 4 }", [X], "out-of-range", "bias_param.num_axes"),
        ("ContrastiveLoss", [(5, 4), (5, 3), (5, 1)], "shape-mismatch", "bottom"),
        ("ContrastiveLoss", [(5, 4), (5, 4), (4, 1)], "shape-mismatch", "bottom"),
        ("Convolution convolution_param { num_output: 4 kernel_size: 9 }", [MAP], "shape-mismatch", "convolution_param"),
        ("Convolution convolution_param { num_output: 4 }", [MAP], "wrong-count", "convolution_param.kernel_size"),
        ("Convolution convolution_param { num_output: 4 kernel_size: 3 kernel_h: 3 }", [MAP], "conflict", "convolution_param.kernel_size"),
        ("Convolution convolution_param { kernel_size: 3 }", [MAP], "out-of-range", "convolution_param.num_output"),
        ("Convolution convolution_param { num_output: 4 kernel_size: 3 group: 3 }", [MAP], "shape-mismatch", "convolution_param.group"),
        ("Convolution convolution_param { num_output: 4 kernel_size: 3 axis: 7 }", [MAP], "out-of-range", "convolution_param.axis"),
        ("Convolution convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xaver' } }", [MAP], "name-unknown", "weight_filler.type"),
        ("Convolution convolution_param { num_output: 1 kernel_size: 8 stride: 3 }", [(1, 2, 5, 5)], "shape-mismatch", "convolution_param"),
        ("Convolution convolution_param { num_output: 2 kernel_size: 2 }", [(2, 0, 4, 4)], "shape-mismatch", "bottom"),
        ("ConvolutionDepthwise convolution_param { num_output: 8 kernel_size: 1 }", [SMALL], "unsupported", "convolution_param.num_output"),
        ("Crop crop_param { offset: 1 }", [X, X], "shape-mismatch", "crop_param.offset"),
        ("Crop crop_param { offset: 1 offset: 1 offset: 1 }", [X, X], "wrong-count", "crop_param.offset"),
        ("Deconvolution convolution_param { kernel_size: 1 num_output: 1 pad: 3 }", [(1, 2, 5, 5)], "shape-mismatch", "convolution_param.pad"),
        ("Deconvolution convolution_param { kernel_size: 1 num_output: 3 group: 2 }", [(1, 2, 5, 5)], "shape-mismatch", "convolution_param.group"),
        ("DepthwiseConvolution convolution_param { num_output: 4 kernel_size: 1 }", [SMALL], "unsupported", "convolution_param.group"),
        ("DepthwiseConvolution convolution_param { num_output: 4 group: 4 kernel_size: 1 dilation: 2 }", [SMALL], "unsupported", "convolution_param.dilation"),
        ("DetectionOutput detection_output_param { num_classes: 2 visualize: true }", BOXES, "unsupported", "detection_output_param.visualize"),
        ("DetectionOutput detection_output_param { num_classes: 2 save_output_param { output_directory: 'x' } }", BOXES, "unsupported", "detection_output_param.save_output_param.output_directory"),
        ("DetectionOutput detection_output_param { num_classes: 2 }", [(1, 8), (1, 6), (1, 2, 8)], "shape-mismatch", "bottom"),
        ("DetectionOutput detection_output_param { num_classes: 2 nms_param { eta: 2 } }", BOXES, "out-of-range", "detection_output_param.nms_param.eta"),
        ("Embed embed_param { num_output: 1 }", [X], "out-of-range", "embed_param.input_dim"),
        ("Exp exp_param { base: 0 }", [(1, 2)], "out-of-range", "exp_param.base"),
        ("Filter", [X, (3, 1)], "shape-mismatch", "bottom"),
        ("Flatten flatten_param { axis: 3 end_axis: 1 }", [X], "out-of-range", "flatten_param.end_axis"),
        ("HingeLoss", [(5, 4), (5, 4)], "shape-mismatch", "bottom"),
        ("Im2col convolution_param { kernel_size: 9 }", [(1, 2, 5, 5)], "shape-mismatch", "convolution_param"),
        ("Im2col convolution_param { kernel_size: 8 stride: 3 }", [(1, 2, 5, 5)], "shape-mismatch", "convolution_param"),
        ("InfogainLoss", [(4, 3), (4,)], "field-missing", "infogain_loss_param.source"),
        ("InfogainLoss infogain_loss_param { source: 'none.binaryproto' }", [(4, 3), (4,)], "file-missing", "infogain_loss_param.source"),
        ("InfogainLoss loss_param { normalize: false }", [(4, 3), (4,), (3, 3)], "unsupported", "loss_param.normalize"),
        ("InfogainLoss", [(4, 3), (4,), (3, 2)], "shape-mismatch", "bottom"),
        ("InnerProduct", [MAP], "out-of-range", "inner_product_param.num_output"),
        ("Interp interp_param { }", [(1, 1, 2, 2)], "field-missing", "interp_param"),
        ("Interp interp_param { zoom_factor: 2 pad_beg: 1 }", [(1, 1, 2, 2)], "out-of-range", "interp_param.pad_beg"),
        ("Interp interp_param { zoom_factor: 2 pad_beg: -2 }", [(1, 1, 2, 2)], "out-of-range", "interp_param.pad_beg"),
        ("LRN lrn_param { local_size: 4 }", [MAP], "invalid", "lrn_param.local_size"),
        ("LSTM recurrent_param { }", [(4, 2, 3), (4, 2)], "out-of-range", "recurrent_param.num_output"),
        ("LSTM recurrent_param { num_output: 2 }", [(4, 2, 3), (4, 3)], "shape-mismatch", "bottom"),
        ("LSTM recurrent_param { num_output: 2 }", [(4, 2, 3), (4, 2), (3, 5)], "shape-mismatch", "bottom"),
        ("LSTM recurrent_param { num_output: 2 expose_hidden: true }", [(4, 2, 3), (4, 2)], "wrong-count", "bottom"),
        ("LSTM recurrent_param { num_output: 2 expose_hidden: true } top: 'y1' top: 'y2'", [(4, 2, 3), (4, 2), (1, 2, 2), (1, 2, 3)], "shape-mismatch", "bottom"),
        ("Log log_param { base: 1 }", [(1, 2)], "out-of-range", "log_param.base"),
        ("Log log_param { base: -2 }", [(1, 2)], "out-of-range", "log_param.base"),
        ("MVN", [(1, 1, 1, 1, 2)], "shape-mismatch", "bottom"),
        ("MultinomialLogisticLoss", [(5, 4), (4,)], "shape-mismatch", "bottom"),
        ("Normalize norm_param { }", [(4,)], "shape-mismatch", "bottom"),
        ("Normalize normalize_param { normalize_type: 'L3' }", [(2, 3)], "name-unknown", "normalize_param.normalize_type"),
        ("Permute permute_param { order: 1 order: 1 }", [(2, 3)], "out-of-range", "permute_param.order"),
        ("Permute permute_param { order: 2 }", [(2, 3)], "out-of-range", "permute_param.order"),
        ("Pooling pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }", [MAP], "conflict", "pooling_param.pad"),
        ("Pooling pooling_param { kernel_size: 2 pad: 2 }", [MAP], "out-of-range", "pooling_param.pad"),
        ("Pooling pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }", [MAP], "conflict", "pooling_param.kernel_size"),
        ("Pooling pooling_param { global_pooling: true kernel_size: 2 }", [MAP], "conflict", "pooling_param.global_pooling"),
        ("Pooling", [MAP], "out-of-range", "pooling_param.kernel_size"),
        ("Pooling pooling_param { kernel_size: 2 stride: 2147483647 }", [MAP], "out-of-range", "pooling_param.stride"),
        ("Pooling pooling_param { kernel_size: 2 round_mode: CEIL ceil_mode: true }", [SMALL], "conflict", "pooling_param.round_mode"),
        ("PriorBox prior_box_param { }", TWO, "out-of-range", "prior_box_param.min_size"),
        ("PriorBox prior_box_param { min_size: inf }", TWO, "out-of-range", "prior_box_param.min_size"),
        ("PriorBox prior_box_param { min_size: 1 max_size: nan }", TWO, "out-of-range", "prior_box_param.max_size"),
        ("PriorBox prior_box_param { min_size: 4 max_size: 3 }", TWO, "out-of-range", "prior_box_param.max_size"),
        ("PriorBox prior_box_param { min_size: 4 variance: 1 variance: 1 }", TWO, "out-of-range", "prior_box_param.variance"),
        ("PriorBox prior_box_param { min_size: 4 step: 2 step_h: 1 step_w: 2 }", TWO, "conflict", "prior_box_param.step"),
        ("PriorBox prior_box_param { min_size: 4 img_h: 2 }", TWO, "conflict", "prior_box_param.img_h"),
        ("PriorBox prior_box_param { min_size: 4 step: 0 }", TWO, "out-of-range", "prior_box_param.step"),
        ("ROIPooling roi_pooling_param { pooled_h: 2 }", [(1, 1, 2, 2), (1, 5)], "out-of-range", "roi_pooling_param.pooled_w"),
        ("ROIPooling roi_pooling_param { pooled_h: 2 pooled_w: 2 }", [(1, 1, 2, 2), (1, 4)], "shape-mismatch", "bottom"),
        ("ReLU top: 'z'", [MAP], "wrong-count", "top"),
        ("ReLU6 relu6_param { negative_slope: 0.1 }", [(1, 4)], "unsupported", "relu6_param.negative_slope"),
        ("Reshape reshape_param { shape { dim: 5 dim: -1 } }", [X], "shape-mismatch", "reshape_param.shape"),
        ("Reshape reshape_param { shape { dim: -1 dim: -1 } }", [X], "out-of-range", "reshape_param.shape"),
        ("Reshape reshape_param { shape { dim: 6 dim: 1 dim: 0 } }", [(2, 3)], "shape-mismatch", "reshape_param.shape"),
        ("Reshape reshape_param { axis: 5 }", [X], "out-of-range", "reshape_param.axis"),
        ("SPP", [(1, 2, 5, 5)], "out-of-range", "spp_param.pyramid_height"),
        ("SPP spp_param { pyramid_height: 2 pool: STOCHASTIC }", [(1, 2, 5, 5)], "unsupported", "spp_param.pool"),
        ("SPP spp_param { pyramid_height: 4 }", [(1, 2, 5, 5)], "unsupported", "spp_param.pyramid_height"),
        ("Scale scale_param { num_axes: 9 }", [MAP], "out-of-range", "scale_param.num_axes"),
        ("ShuffleChannel shuffle_channel_param { group: 3 }", [SMALL], "shape-mismatch", "shuffle_channel_param.group"),
        ("SigmoidCrossEntropyLoss", [(5, 4), (5, 3)], "shape-mismatch", "bottom"),
        ("Slice slice_param { slice_point: 3 slice_point: 3 } top: 'y1' top: 'y2'", [X], "out-of-range", "slice_param.slice_point"),
        ("Slice top: 'y1' top: 'y2'", [X], "shape-mismatch", "slice_param.slice_point"),
        ("Slice slice_param { slice_point: 3 } top: 'y1' top: 'y2'", [X], "wrong-count", "slice_param.slice_point"),
        ("SmoothL1Loss", [(2, 3), (2, 3), (2, 3)], "wrong-count", "bottom"),
        ("Softmax softmax_param { axis: 4 }", [MAP], "out-of-range", "softmax_param.axis"),
        ("SoftmaxWithLoss loss_param { weight_by_label_freqs: true class_weighting: 1 }", [(2, 3), (2,)], "wrong-count", "loss_param.class_weighting"),
        ("Tile", [X], "out-of-range", "tile_param.tiles"),
        ("Upsample upsample_param { scale_h: 2 }", TWO, "field-missing", "upsample_param.scale_h"),
        ("Upsample upsample_param { scale: 3 pad_out_h: true }", TWO, "conflict", "upsample_param.pad_out_h"),
        ("Upsample upsample_param { scale: 1 }", TWO, "out-of-range", "upsample_param.scale"),
        ("Upsample upsample_param { scale: 0 }", [SMALL], "out-of-range", "upsample_param.scale"),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_be_built_is_refused_by_field_and_line(layer, shapes, code, field):
    type_, _, body = layer.partition(" ")
    with refused(code, field=field, file="net.prototxt", line=len(shapes) + 1, layer="l"):
        build_net(single(type_, shapes, body))


@pytest.mark.parametrize(
    ("type_", "shapes", "fields"),
    [
        ("Clip", [(1, 2)], ["clip_param.min", "clip_param.max"]),
        ("InfogainLoss", [(4, 3), (5,), (3, 3)], ["bottom"] * 2),
    ],
)
def test_all_problems_of_a_layer_are_listed(type_, shapes, fields):
    with refused("several") as failure:
        build_net(single(type_, shapes))
    assert [problem.field for problem in failure.value.problems] == fields
