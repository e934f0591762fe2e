"""Four small nets: two of the authors', and two that have every kind of layer that compiled passes know."""

import torch

from caffe_compat import load_net
from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from lq_emotion.prototxt import path

MSRA = {"weight_filler": {"type": "msra"}, "bias_filler": {"type": "gaussian", "std": 0.1}}
SCALE = {"filler": {"type": "uniform", "min": 0.5, "max": 1.5}, "bias_filler": {"type": "gaussian"}, "bias_term": True}


def _norm(bottom):
    return L.Scale(L.BatchNorm(bottom), **SCALE)


def xception():
    """Depthwise and pointwise convolutions with norms, residuals, a mean over the map."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 1, 26, 26]})
    n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=3, **MSRA)
    n.x = L.ReLU(_norm(n.conv1))
    n.shortcut = L.Convolution(n.x, num_output=32, kernel_size=1, stride=2, **MSRA)
    n.depthwise = L.Convolution(n.x, num_output=16, kernel_size=3, pad=1, group=16, bias_term=False, **MSRA)
    n.pointwise = L.Convolution(n.depthwise, num_output=32, kernel_size=1, bias_term=False, **MSRA)
    n.pool = L.Pooling(_norm(n.pointwise), kernel_size=3, stride=2)
    n.sum = L.Eltwise(n.pool, _norm(n.shortcut))
    n.last = L.Convolution(n.sum, num_output=7, kernel_size=3, pad=1, **MSRA)
    n.mean = L.Pooling(n.last, pool=P.Pooling.AVE, global_pooling=True)
    return n.to_proto()


def mixed():
    """Groups, dilation, Concat, PReLU, a leaky ReLU, LRN between programs, a Scale after an inner product, Dropout."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 3, 25, 23]})
    n.conv1 = L.Convolution(n.data, num_output=32, kernel_size=5, **MSRA)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2)
    n.leaky = L.ReLU(n.pool1, negative_slope=0.2)
    n.lrn = L.LRN(n.leaky, local_size=3, alpha=0.1)
    n.grouped = L.Convolution(n.lrn, num_output=32, kernel_size=3, pad=1, group=2, **MSRA)
    n.a = L.PReLU(n.grouped)
    n.b = L.ReLU(L.Convolution(n.lrn, num_output=16, kernel_size=3, pad=2, dilation=2, **MSRA), negative_slope=0.1)
    n.joined = L.Concat(n.a, n.b, n.lrn)
    n.wide = L.Convolution(n.joined, num_output=32, kernel_size=3, pad=1, **MSRA)
    n.ip = L.InnerProduct(L.Dropout(L.ReLU(n.wide)), num_output=12, **MSRA)
    n.scaled = L.Scale(n.ip, **SCALE)
    n.out = L.InnerProduct(L.ReLU(n.scaled), num_output=5, **MSRA)
    return n.to_proto()


DEPLOY = "matlabscripts/recon/deploy"
NETS = {
    "CNN+D": (path(f"{DEPLOY}/model_1F_CNN+D.prototxt"), (2, 1, 48, 48)),
    "SR-FCN": (path(f"{DEPLOY}/SRCNN_net.prototxt"), (2, 1, 24, 24)),
    "xception": (xception(), (2, 1, 26, 26)),
    "mixed": (mixed(), (2, 3, 25, 23)),
}


def load(name, *, fast):
    """Return a net with drawn weights and statistics, and a batch for it."""
    definition, shape = NETS[name]
    net = load_net(definition, input_shapes={"data": shape}, seed=1, fast=fast)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.dim() > 1:  # the authors' fillers are too small for what a test can see
                fan_in = tensor[0].numel()
                tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        for key, tensor in net.named_buffers():
            if key.endswith("mean"):
                tensor.normal_(0, 0.1, generator=generator)
            else:
                tensor.fill_(1.0) if key.endswith("factor") else tensor.uniform_(0.5, 1.5, generator=generator)
    return net, torch.rand(shape, generator=generator)
