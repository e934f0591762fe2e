"""Layers and nets as the authors write them, down to which default values are written out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from caffe_compat.schema import caffe_pb2 as pb

SIZE = 96
"""Rows, and columns, of a face."""
Rates = tuple[float, float | None]
"""Learning rates (lr_mult) of the weights and of the bias; with None the layer has no bias."""


def training_net(
    name: str, sources: tuple[str, str], batches: tuple[int, int], layers: Iterable[pb.LayerParameter]
) -> pb.NetParameter:
    """Return a net to train: HDF5 data of both phases, TRAIN first, then the layers."""
    net = pb.NetParameter(name=name)
    for source, batch, phase in zip(sources, batches, (pb.TRAIN, pb.TEST), strict=True):
        net.layer.append(hdf5_data(source, batch, phase))
    net.layer.extend(layers)
    return net


def deploy_net(name: str, size: int, label: tuple[int, ...], layers: Iterable[pb.LayerParameter]) -> pb.NetParameter:
    """Return a net to apply to a face of `size` rows and columns: inputs in the old form, layers, a loss for TRAIN."""
    net = pb.NetParameter(name=name)
    for blob, shape in (("data", (1, 1, size, size)), ("label", label)):
        net.input.append(blob)
        net.input_dim.extend(shape)
    unused = net.layer.add(name="Silence", type="Silence", bottom=["label"])  # else the label would be an output
    unused.include.add(phase=pb.TEST)
    net.layer.extend(layers)
    loss = euclidean_loss(net.layer[-1].top[0])
    loss.include.add(phase=pb.TRAIN)
    net.layer.append(loss)
    return net


def hdf5_data(
    source: str, batch: int, phase: int | None = None, *, tops: Sequence[str] = ("data", "label"), shuffle: bool = False
) -> pb.LayerParameter:
    """Return the layer that feeds data and label, or other tops, in one phase; in both without `phase`."""
    layer = pb.LayerParameter(name="data", type="HDF5Data", top=tops)
    if phase is not None:
        layer.include.add(phase=phase)
    layer.hdf5_data_param.source = source
    layer.hdf5_data_param.batch_size = batch
    if shuffle:
        layer.hdf5_data_param.shuffle = True
    return layer


def convolution(
    name: str, bottom: str, outputs: int, rates: Rates, *, filler: str = "xavier", pad: int | None = 0,
    zero_written: bool = True,
) -> pb.LayerParameter:  # fmt: skip
    """Return a 5 x 5 convolution; with `pad` None the field is left to its default, 0.

    The weight filler is ``xavier`` or ``gaussian`` (standard deviation 0.001). The value of the bias filler, zero, is
    written out unless `zero_written` is false.
    """
    layer = pb.LayerParameter(name=name, type="Convolution", bottom=[bottom], top=[name])
    param = layer.convolution_param
    param.num_output = outputs
    param.kernel_size.append(5)
    param.stride.append(1)
    if pad is not None:
        param.pad.append(pad)
    _learn(layer, param, rates, filler)
    if param.bias_term and zero_written:
        param.bias_filler.value = 0
    return layer


def inner_product(name: str, bottom: str, outputs: int, rates: Rates) -> pb.LayerParameter:
    """Return a fully connected layer."""
    layer = pb.LayerParameter(name=name, type="InnerProduct", bottom=[bottom], top=[name])
    layer.inner_product_param.num_output = outputs
    _learn(layer, layer.inner_product_param, rates, "xavier")
    return layer


def relu(name: str, blob: str) -> pb.LayerParameter:
    """Return a ReLU in place."""
    return pb.LayerParameter(name=name, type="ReLU", bottom=[blob], top=[blob])


def dropout(name: str, blob: str, ratio: float) -> pb.LayerParameter:
    """Return a dropout in place."""
    layer = pb.LayerParameter(name=name, type="Dropout", bottom=[blob], top=[blob])
    layer.dropout_param.dropout_ratio = ratio
    return layer


def max_pooling(name: str, bottom: str, kernel: int) -> pb.LayerParameter:
    """Return a max pooling whose windows do not overlap."""
    layer = pb.LayerParameter(name=name, type="Pooling", bottom=[bottom], top=[name])
    layer.pooling_param.pool = pb.PoolingParameter.MAX
    layer.pooling_param.kernel_size = kernel
    layer.pooling_param.stride = kernel
    return layer


def face_normalisation(bottom: str) -> pb.LayerParameter:
    """Return the layer that gives each image a mean of 0 and a standard deviation of 1."""
    layer = pb.LayerParameter(name="normalised", type="MVN", bottom=[bottom], top=["normalised"])
    layer.mvn_param.normalize_variance = True
    return layer


def euclidean_loss(bottom: str, label: str = "label", *, weight: float | None = None) -> pb.LayerParameter:
    """Return the loss: the sum of squared differences over 2 N, times `weight`."""
    layer = pb.LayerParameter(name="loss", type="EuclideanLoss", bottom=[bottom, label], top=["loss"])
    if weight is not None:
        layer.loss_weight.append(weight)
    return layer


def _learn(
    layer: pb.LayerParameter, param: pb.ConvolutionParameter | pb.InnerProductParameter, rates: Rates, filler: str
) -> None:
    """Set the rates and the fillers of a layer."""
    for rate in rates:
        if rate is not None:
            layer.param.add(lr_mult=rate)
    param.weight_filler.type = filler
    if filler == "gaussian":
        param.weight_filler.std = 0.001
    if rates[1] is None:
        param.bias_term = False
    else:
        param.bias_filler.type = "constant"
