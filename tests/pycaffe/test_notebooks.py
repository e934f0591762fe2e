"""The calls that Caffe's example notebooks make, on small nets of the same form and data made here.

What their calls return is checked against NumPy or against each other. Classifier, Detector and caffe.io have tests of
their own.
"""

# ruff: noqa: C408, I001, PTH100, PTH110, PTH123 -- written as the notebooks write
import os
import sys
from copy import copy

import h5py
import numpy as np
import pytest
from PIL import Image

from caffe_compat.pycaffe import finder

finder.install()
import caffe  # noqa: E402
from caffe import layers as L, params as P  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402

finder.uninstall()


@pytest.fixture(autouse=True)
def _notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    monkeypatch.chdir(tmp_path)
    finder.install()
    caffe.set_mode_cpu()
    caffe.set_random_seed(3)
    yield
    finder.uninstall()


def written(name, message):
    with open(name, "w") as f:
        f.write(str(message))
    return name


def photo(name, size, seed=0):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(name)
    return name


def transformer_of(net, **settings):
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    for name, value in dict(transpose=(2, 0, 1), raw_scale=255.0, channel_swap=(2, 1, 0), **settings).items():
        getattr(transformer, f"set_{name}")("data", value)
    return transformer


def learned(bottom, num_output, **fields):
    return L.InnerProduct(bottom, num_output=num_output, weight_filler=dict(type="xavier"), **fields)


def solver_file(**fields):
    return written("solver.prototxt", caffe_pb2.SolverParameter(**fields))


# 01-learning-lenet


def digits(path, count, seed):
    """Pictures of ten classes: class k has a bright bar in row k."""
    lmdb = pytest.importorskip("lmdb")
    rng = np.random.default_rng(seed)
    with lmdb.open(path, map_size=1 << 24) as store, store.begin(write=True) as txn:
        for i in range(count):
            label = i % 10
            picture = rng.integers(0, 60, (1, 12, 12), dtype=np.uint8)
            picture[0, label + 1] = 250
            txn.put(f"{i:05}".encode(), caffe.io.array_to_datum(picture, label).SerializeToString())
    return path


def classifier_of_digits(source, batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch_size, backend=P.Data.LMDB, source=source, transform_param=dict(scale=1.0 / 255), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=3, num_output=8, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=1, pool=P.Pooling.MAX)
    n.fc1 = learned(n.pool1, 30)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = learned(n.relu1, 10)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


def digit_solver():
    train, test = digits("train_lmdb", 100, 0), digits("test_lmdb", 50, 1)
    return solver_file(
        train_net=written("train.prototxt", classifier_of_digits(train, 20)),
        test_net=[written("test.prototxt", classifier_of_digits(test, 25))],
        test_iter=[2], test_interval=500, base_lr=0.05, momentum=0.9, weight_decay=5e-4, lr_policy="inv", gamma=0.0001,
        power=0.75, max_iter=10000, snapshot=5000, snapshot_prefix="digits",
    )  # fmt: skip


def test_01_lenet_learns_step_by_step_from_lmdb():
    solver = caffe.SGDSolver(digit_solver())
    assert [(k, v.data.shape) for k, v in solver.net.blobs.items()][:2] == [("data", (20, 1, 12, 12)), ("label", (20,))]
    assert ("conv1", (8, 1, 3, 3)) in [(k, v[0].data.shape) for k, v in solver.net.params.items()]
    solver.net.forward()
    solver.test_nets[0].forward()
    assert solver.net.blobs["label"].data[:8].tolist() == list(range(8))
    assert 0.9 < solver.test_nets[0].blobs["data"].data[3, 0, 4].mean() < 1
    solver.step(1)
    assert solver.net.params["conv1"][0].diff[:, 0].any()

    niter, test_interval = 40, 20
    train_loss, test_acc = np.zeros(niter), np.zeros(int(np.ceil(niter / test_interval)))
    output = np.zeros((niter, 8, 10))
    for it in range(niter):
        solver.step(1)
        train_loss[it] = solver.net.blobs["loss"].data
        solver.test_nets[0].forward(start="conv1")
        output[it] = solver.test_nets[0].blobs["score"].data[:8]
        if it % test_interval == test_interval - 1:
            correct = 0
            for _ in range(2):
                solver.test_nets[0].forward()
                correct += sum(
                    solver.test_nets[0].blobs["score"].data.argmax(1) == solver.test_nets[0].blobs["label"].data
                )
            test_acc[it // test_interval] = correct / 50
    assert solver.iter == 41
    assert train_loss[-5:].mean() < 0.2 * train_loss[:5].mean()
    assert test_acc[-1] > 0.9
    assert np.abs(output[-1] - output[0]).max() > 0.5  # the test net has the trained net's weights


# 02-fine-tuning

LEARNED = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
FROZEN = [dict(lr_mult=0)] * 2


def small_caffenet(data, label=None, train=True, num_classes=10, classifier_name="fc8", learn_all=False):
    n = caffe.NetSpec()
    n.data = data
    param = LEARNED if learn_all else FROZEN
    filler = dict(weight_filler=dict(type="gaussian", std=0.05), bias_filler=dict(type="constant", value=0.1))
    n.conv1 = L.Convolution(n.data, kernel_size=3, stride=2, num_output=8, group=1, param=param, **filler)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=1e-4, beta=0.75)
    n.conv2 = L.Convolution(n.norm1, kernel_size=3, pad=1, group=2, num_output=8, param=param, **filler)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.fc7 = L.InnerProduct(n.relu2, num_output=16, param=param, **filler)
    n.relu7 = L.ReLU(n.fc7, in_place=True)
    if train:
        n.drop7 = L.Dropout(n.relu7, in_place=True)
    fc8 = learned(n.drop7 if train else n.relu7, num_classes, param=LEARNED)
    n.__setattr__(classifier_name, fc8)
    if not train:
        n.probs = L.Softmax(fc8)
    if label is not None:
        n.label = label
        n.loss = L.SoftmaxWithLoss(fc8, n.label)
        n.acc = L.Accuracy(fc8, n.label)
    return n.to_proto()


@pytest.fixture
def styles():
    """Pictures in two styles, dark and bright, their list, and a mean picture."""
    rng = np.random.default_rng(5)
    with open("train.txt", "w") as images:
        for i in range(12):
            bright = i % 2
            values = rng.integers(120 * bright, 120 + 120 * bright, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(values).save(f"{i}.png")
            images.write(f"{os.path.abspath(f'{i}.png')} {bright}\n")
    mean = caffe.io.array_to_blobproto(np.full((1, 3, 20, 20), 118.0))
    with open("mean.binaryproto", "wb") as f:
        f.write(mean.SerializeToString())

    def style_net(train=True, learn_all=False):
        data, label = L.ImageData(
            transform_param=dict(mirror=train, crop_size=16, mean_file="mean.binaryproto"),
            source="train.txt", batch_size=6, new_height=20, new_width=20, ntop=2,
        )  # fmt: skip
        return written(
            f"style_{train}_{learn_all}.prototxt",
            small_caffenet(data, label, train=train, num_classes=2, classifier_name="fc8_flickr", learn_all=learn_all),
        )

    return style_net


@pytest.fixture
def imagenet():
    data = L.DummyData(shape=dict(dim=[1, 3, 16, 16]))
    net = caffe.Net(written("imagenet.prototxt", small_caffenet(data, train=False)), caffe.TEST)
    net.save("imagenet.caffemodel")
    return caffe.Net("imagenet.prototxt", "imagenet.caffemodel", caffe.TEST)


def test_02_fine_tuning_changes_only_learned_layers(styles, imagenet):
    def solver(net, base_lr):
        return caffe.get_solver(solver_file(
            train_net=net, iter_size=1, max_iter=100000, type="SGD", base_lr=base_lr, lr_policy="step", gamma=0.1,
            stepsize=20000, momentum=0.9, weight_decay=5e-4, display=1000, snapshot=10000, snapshot_prefix="finetuned",
            solver_mode=caffe_pb2.SolverParameter.GPU,
        ))  # fmt: skip

    style_solver, scratch_solver = solver(styles(train=True), 0.01), solver(styles(train=True), 0.01)
    style_solver.net.copy_from("imagenet.caffemodel")
    solvers = [("pretrained", style_solver), ("scratch", scratch_solver)]
    start = {name: s.net.params["fc8_flickr"][0].data.copy() for name, s in solvers}
    loss, acc = ({name: np.zeros(30) for name, _ in solvers} for _ in range(2))
    weights = {}
    for it in range(30):
        for name, s in solvers:
            s.step(1)
            loss[name][it], acc[name][it] = (s.net.blobs[b].data.copy() for b in ("loss", "acc"))
    for name, s in solvers:
        weights[name] = f"weights.{name}.caffemodel"
        s.net.save(weights[name])
        assert not np.array_equal(s.net.params["fc8_flickr"][0].data, start[name])
    np.testing.assert_array_equal(style_solver.net.params["conv1"][0].data, imagenet.params["conv1"][0].data)
    assert loss["pretrained"][-5:].mean() < loss["pretrained"][0]
    assert 0 <= acc["scratch"].min() <= acc["scratch"].max() <= 1

    end_to_end = solver(styles(train=True, learn_all=True), 0.001)
    end_to_end.net.copy_from(weights["pretrained"])
    np.testing.assert_array_equal(
        end_to_end.net.params["fc8_flickr"][0].data, style_solver.net.params["fc8_flickr"][0].data
    )
    end_to_end.step(1)
    assert not np.array_equal(end_to_end.net.params["conv1"][0].data, imagenet.params["conv1"][0].data)

    test_net = caffe.Net(styles(train=False), weights["pretrained"], caffe.TEST)
    accuracy = sum(test_net.forward()["acc"] for _ in range(2)) / 2
    correct = []
    for _ in range(2):
        test_net.forward()
        correct.append(test_net.blobs["probs"].data.argmax(1) == test_net.blobs["label"].data)
    np.testing.assert_allclose(accuracy, np.mean(correct), rtol=1e-6)


# brewing-logreg


def logreg(hdf5, hidden):
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=10, source=hdf5, ntop=2)
    n.ip1 = score = learned(n.data, 40 if hidden else 2)
    if hidden:
        n.relu1 = L.ReLU(n.ip1, in_place=True)
        n.ip2 = score = learned(n.ip1, 2)
    n.accuracy = L.Accuracy(score, n.label)
    n.loss = L.SoftmaxWithLoss(score, n.label)
    return n.to_proto()


@pytest.mark.parametrize("hidden", [False, True])
def test_brewing_logreg_solves_from_hdf5(hidden):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((400, 4))
    y = (np.abs(X[:, 0]) > 0.7) if hidden else (X @ [1.0, -2.0, 0.5, 0.0] > 0)
    with h5py.File("train.h5", "w") as f:
        f["data"], f["label"] = X[:300], y[:300].astype(np.float32)
    with h5py.File("test.h5", "w") as f:
        f.create_dataset("data", data=X[300:], compression="gzip", compression_opts=1)
        f.create_dataset("label", data=y[300:].astype(np.float32), compression="gzip", compression_opts=1)
    written("train.txt", "train.h5\ntrain.h5\n")
    written("test.txt", "test.h5\n")

    solver = caffe.get_solver(solver_file(
        train_net=written("train.prototxt", logreg("train.txt", hidden)),
        test_net=[written("test.prototxt", logreg("test.txt", hidden))],
        test_interval=1000, max_iter=150, test_iter=[10], base_lr=0.1, lr_policy="step", gamma=0.1, stepsize=120,
        momentum=0.9, weight_decay=5e-4, display=1000, snapshot=150, snapshot_prefix="logreg",
        solver_mode=caffe_pb2.SolverParameter.CPU,
    ))  # fmt: skip
    solver.solve()

    accuracy, batch_size = 0, solver.test_nets[0].blobs["data"].num
    assert batch_size == 10
    for _ in range(100 // batch_size):
        solver.test_nets[0].forward()
        accuracy += solver.test_nets[0].blobs["accuracy"].data
    accuracy /= 100 // batch_size
    if not hidden:
        w, b = (p.data for p in solver.net.params["ip1"])
        expected = ((X[300:].astype(np.float32) @ w.T + b).argmax(1) == y[300:]).mean()
        np.testing.assert_allclose(accuracy, expected, rtol=1e-6)
    assert accuracy > 0.9
    assert os.path.exists("logreg_iter_150.caffemodel")
    assert os.path.exists("logreg_iter_150.solverstate")


# net_surgery


def test_net_surgery_edits_filters_in_place():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 100, 100]))
    n.conv = L.Convolution(n.data, num_output=3, kernel_size=5, weight_filler=dict(type="gaussian", std=0.01))
    net = caffe.Net(written("conv.prototxt", n.to_proto()), caffe.TEST)
    assert (list(net.blobs.keys()), list(net.params.keys())) == (["data", "conv"], ["conv"])
    im = np.array(caffe.io.load_image(photo("cat_gray.png", (36, 48)), color=False)).squeeze()
    im_input = im[np.newaxis, np.newaxis, :, :]
    net.blobs["data"].reshape(*im_input.shape)
    net.blobs["data"].data[...] = im_input
    net.forward()
    conv0 = net.blobs["conv"].data[0, 0]
    assert conv0.shape == (32, 44)
    before = conv0.mean()
    net.params["conv"][1].data[0] = 1.0
    net.forward()
    np.testing.assert_allclose(conv0.mean(), before + 1, rtol=1e-5)  # the array shows the new values

    ksize = net.params["conv"][0].data.shape[2:]
    y, x = np.mgrid[-ksize[0] // 2 + 1 : ksize[0] // 2 + 1, -ksize[1] // 2 + 1 : ksize[1] // 2 + 1]
    g = np.exp(-((x**2 + y**2) / 2.0))
    net.params["conv"][0].data[0] = (g / g.sum()).astype(np.float32)
    net.params["conv"][0].data[1:] = 0.0
    sobel = np.array((-1, -2, -1, 0, 0, 0, 1, 2, 1), dtype=np.float32).reshape((3, 3))
    net.params["conv"][0].data[1, 0, 1:-1, 1:-1] = sobel
    net.params["conv"][0].data[2, 0, 1:-1, 1:-1] = sobel.T
    net.forward()
    down = sum(sobel[i, j] * im[1 + i : 33 + i, 1 + j : 45 + j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(net.blobs["conv"].data[0, 1], down, atol=1e-5)
    assert net.blobs["conv"].data[0, 0].std() < im.std()


def test_net_surgery_turns_a_classifier_into_a_map():
    def spec(side, fully):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[1, 3, side, side]))
        n.conv1 = L.Convolution(n.data, kernel_size=3, num_output=4, weight_filler=dict(type="xavier"))
        n.relu1 = L.ReLU(n.conv1, in_place=True)
        if fully:
            fc6 = L.Convolution(n.relu1, kernel_size=6, num_output=9)
            fc7 = L.Convolution(L.ReLU(fc6, in_place=True), kernel_size=1, num_output=5)
            n["fc6-conv"], n["fc7-conv"] = fc6, fc7
        else:
            n.fc6 = learned(n.relu1, 9)
            n.fc7 = fc7 = learned(L.ReLU(n.fc6, in_place=True), 5)
        n.prob = L.Softmax(fc7)
        return written(f"net_{fully}.prototxt", n.to_proto())

    net = caffe.Net(spec(8, False), caffe.TEST)
    net.save("net.caffemodel")
    net_full_conv = caffe.Net(spec(11, True), "net.caffemodel", caffe.TEST)
    for name in ("fc6", "fc7"):
        (weights, bias), (conv_weights, conv_bias) = net.params[name], net_full_conv.params[f"{name}-conv"]
        conv_weights.data.flat, conv_bias.data[...] = weights.data.flat, bias.data
    net_full_conv.save("full_conv.caffemodel")
    net_full_conv = caffe.Net("net_True.prototxt", "full_conv.caffemodel", caffe.TEST)

    im = caffe.io.load_image(photo("cat.png", (11, 11)))
    transformer = transformer_of(net_full_conv, mean=np.array([100.0, 110.0, 120.0]))
    prepared = transformer.preprocess("data", im)
    out = net_full_conv.forward_all(data=np.asarray([prepared]))
    assert out["prob"].shape == (1, 5, 4, 4)
    for i in range(4):
        for j in range(4):
            patch = prepared[np.newaxis, :, i : i + 8, j : j + 8]
            np.testing.assert_allclose(out["prob"][0, :, i, j], net.forward(data=patch)["prob"][0], atol=1e-5)
    np.testing.assert_allclose(transformer.deprocess("data", net_full_conv.blobs["data"].data[0]), im, atol=1e-5)


# pascal-multilabel-with-datalayer

DATA_LAYER = """
import caffe
import numpy as np


class MultilabelData(caffe.Layer):
    def setup(self, bottom, top):
        params = eval(self.param_str)
        assert set(params) == {"batch_size", "im_shape", "split"}, params
        self.batch_size = params["batch_size"]
        self.rng = np.random.RandomState(len(params["split"]))
        top[0].reshape(self.batch_size, 3, *params["im_shape"])
        top[1].reshape(self.batch_size, 4)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        for i in range(self.batch_size):
            labels = self.rng.randint(0, 2, 4)
            image = self.rng.rand(3, *top[0].data.shape[2:])
            image[0, :4] += labels[:, np.newaxis] * 2.0
            top[0].data[i, ...] = image
            top[1].data[i, ...] = labels

    def backward(self, top, propagate_down, bottom):
        pass
"""


def test_pascal_multilabel_trains_from_a_data_layer_in_python(tmp_path, monkeypatch):
    (tmp_path / "multilabel_datalayers.py").write_text(DATA_LAYER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "multilabel_datalayers", raising=False)

    def multilabel(split):
        n = caffe.NetSpec()
        n.data, n.label = L.Python(
            module="multilabel_datalayers", layer="MultilabelData", ntop=2,
            param_str=str(dict(batch_size=16, im_shape=[6, 6], split=split)),
        )  # fmt: skip
        n.fc1 = learned(n.data, 24)
        n.relu1 = L.ReLU(n.fc1, in_place=True)
        n.drop1 = L.Dropout(n.relu1, in_place=True, dropout_ratio=0.1)
        n.score = learned(n.drop1, 4)
        n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
        return str(n.to_proto())

    solver = caffe.SGDSolver(solver_file(
        base_lr=0.05, display=1, gamma=0.1, iter_size=1, lr_policy="fixed", max_iter=100000, momentum=0.9, snapshot=2500,
        snapshot_prefix="snapshot", test_initialization=False, test_interval=250, test_iter=[100], weight_decay=0.0005,
        test_net=[written("valnet.prototxt", multilabel("val"))], average_loss=25,
        train_net=written("trainnet.prototxt", multilabel("train")),
    ))  # fmt: skip
    solver.net.save("before.caffemodel")
    solver.net.copy_from("before.caffemodel")
    solver.test_nets[0].share_with(solver.net)
    solver.step(1)
    assert copy(solver.net.blobs["data"].data[0, ...]).shape == (3, 6, 6)
    assert set(solver.net.blobs["label"].data[0].astype(int)) <= {0, 1}

    def check_accuracy(net, num_batches):
        accuracies = []
        for _ in range(num_batches):
            net.forward()
            accuracies.append(((net.blobs["score"].data > 0) == net.blobs["label"].data).mean())
        return np.mean(accuracies)

    before = check_accuracy(solver.test_nets[0], 4)
    solver.step(40)
    assert check_accuracy(solver.test_nets[0], 4) > max(0.9, before)
