"""Every layer type: one class each, registered by importing this package."""

from caffe_compat.layers import (  # noqa: F401  (importing registers)
    accuracy,
    arithmetic,
    batch_norm,
    columns,
    concat,
    convolution,
    data,
    deconvolution,
    dropout,
    eltwise,
    hdf5_output,
    inner_product,
    loss,
    lrn,
    more_losses,
    neurons,
    pooling,
    prelu,
    recurrent,
    relu,
    rows,
    scale,
    shapes,
    softmax,
    spp,
)
from caffe_compat.layers.base import REGISTRY, Account, Arity, BlobDef, Layer, LayerSpec, Shape, exactly, register

__all__ = ["REGISTRY", "Account", "Arity", "BlobDef", "Layer", "LayerSpec", "Shape", "exactly", "register"]
