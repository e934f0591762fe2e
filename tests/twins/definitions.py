"""Two well-known nets of Caffe's examples, written in Python; `feed` makes the data and the label."""

from collections.abc import Callable

from caffe_compat.definition.netspec import NetSpec, Top
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.schema import caffe_pb2 as pb

Feed = Callable[[], tuple[Top, Top]]
XAVIER = {"type": "xavier"}


def constant(value: float) -> dict:
    return {"type": "constant", "value": value}


MULTIPLIERS = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]


def lenet(feed: Feed) -> pb.NetParameter:
    n = NetSpec()
    n.data, n.label = feed()
    learn = {"param": [{"lr_mult": 1}, {"lr_mult": 2}], "weight_filler": XAVIER, "bias_filler": {"type": "constant"}}
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5, stride=1, **learn)
    n.pool1 = L.Pooling(n.conv1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.conv2 = L.Convolution(n.pool1, num_output=50, kernel_size=5, stride=1, **learn)
    n.pool2 = L.Pooling(n.conv2, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500, **learn)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, **learn)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Outputs of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj."""


class _GoogLeNet:
    """The net while it is written."""

    def __init__(self, feed: Feed) -> None:
        self.n = NetSpec()
        self.n.data, self.n.label = feed()

    def conv(self, name: str, relu: str, bottom: Top, **fields: int) -> Top:
        self.n[name] = L.Convolution(
            bottom, param=MULTIPLIERS, weight_filler=XAVIER, bias_filler=constant(0.2), **fields
        )
        self.n[relu] = L.ReLU(self.n[name], in_place=True)
        return self.n[relu]

    def max_pool(self, name: str, bottom: Top, **fields: int) -> Top:
        self.n[name] = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=3, **fields)
        return self.n[name]

    def norm(self, name: str, bottom: Top) -> Top:
        self.n[name] = L.LRN(bottom, local_size=5, alpha=0.0001, beta=0.75)
        return self.n[name]

    def full(self, name: str, bottom: Top, outputs: int, bias: float) -> Top:
        fillers = {"weight_filler": XAVIER, "bias_filler": constant(bias)}
        self.n[name] = L.InnerProduct(bottom, param=MULTIPLIERS, num_output=outputs, **fillers)
        return self.n[name]

    def inception(self, block: str, bottom: Top) -> Top:
        at, outputs = f"inception_{block}", INCEPTION[block]

        def conv(kind: str, below: Top, number: int, **fields: int) -> Top:
            return self.conv(f"{at}/{kind}", f"{at}/relu_{kind}", below, num_output=outputs[number], **fields)

        one = conv("1x1", bottom, 0, kernel_size=1)
        three = conv("3x3", conv("3x3_reduce", bottom, 1, kernel_size=1), 2, pad=1, kernel_size=3)
        five = conv("5x5", conv("5x5_reduce", bottom, 3, kernel_size=1), 4, pad=2, kernel_size=5)
        pooled = conv("pool_proj", self.max_pool(f"{at}/pool", bottom, stride=1, pad=1), 5, kernel_size=1)
        self.n[f"{at}/output"] = L.Concat(one, three, five, pooled)
        return self.n[f"{at}/output"]

    def side_loss(self, at: str, bottom: Top) -> None:
        self.n[f"{at}/ave_pool"] = L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=5, stride=3)
        below = self.conv(f"{at}/conv", f"{at}/relu_conv", self.n[f"{at}/ave_pool"], num_output=128, kernel_size=1)
        self.n[f"{at}/relu_fc"] = L.ReLU(self.full(f"{at}/fc", below, 1024, 0.2), in_place=True)
        self.n[f"{at}/drop_fc"] = L.Dropout(self.n[f"{at}/relu_fc"], dropout_ratio=0.7, in_place=True)
        top = self.full(f"{at}/classifier", self.n[f"{at}/drop_fc"], 1000, 0)
        self.n[f"{at}/{at}"] = L.SoftmaxWithLoss(top, self.n.label, loss_weight=0.3, name=f"{at}/loss")

    def net(self) -> pb.NetParameter:
        n = self.n
        x = self.conv("conv1/7x7_s2", "conv1/relu_7x7", n.data, num_output=64, pad=3, kernel_size=7, stride=2)
        x = self.norm("pool1/norm1", self.max_pool("pool1/3x3_s2", x, stride=2))
        x = self.conv("conv2/3x3_reduce", "conv2/relu_3x3_reduce", x, num_output=64, kernel_size=1)
        x = self.conv("conv2/3x3", "conv2/relu_3x3", x, num_output=192, pad=1, kernel_size=3)
        x = self.max_pool("pool2/3x3_s2", self.norm("conv2/norm2", x), stride=2)
        x = self.max_pool("pool3/3x3_s2", self.inception("3b", self.inception("3a", x)), stride=2)
        x = self.inception("4a", x)
        self.side_loss("loss1", x)
        x = self.inception("4d", self.inception("4c", self.inception("4b", x)))
        self.side_loss("loss2", x)
        x = self.max_pool("pool4/3x3_s2", self.inception("4e", x), stride=2)
        x = self.inception("5b", self.inception("5a", x))
        n["pool5/7x7_s1"] = L.Pooling(x, pool=P.Pooling.AVE, kernel_size=7, stride=1)
        n["pool5/drop_7x7_s1"] = L.Dropout(n["pool5/7x7_s1"], dropout_ratio=0.4, in_place=True)
        top = self.full("loss3/classifier", n["pool5/drop_7x7_s1"], 1000, 0)
        n["loss3/loss3"] = L.SoftmaxWithLoss(top, n.label, loss_weight=1, name="loss3/loss3")
        return n.to_proto()


def googlenet(feed: Feed) -> pb.NetParameter:
    return _GoogLeNet(feed).net()
