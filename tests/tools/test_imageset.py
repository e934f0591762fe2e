"""convert_imageset, compute_image_mean and extract_features: what they store is what Caffe's tools store."""

import cv2
import h5py
import numpy as np
import pytest
import torch

from caffe_compat.cli import main
from caffe_compat.data import CRand, open_source
from caffe_compat.formats.files import read_binary
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools import imageset
from caffe_compat.tools.imageset import channel_means, compute_image_mean, records

pytest.importorskip("lmdb")


@pytest.fixture
def folder(folder):
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    lines = []
    for number in range(5):
        name = f"a b{number}.{'jpg' if number == 4 else 'png'}"
        cv2.imwrite(str(folder / "images" / name), rng.integers(0, 256, (6, 8, 3), np.uint8))
        lines.append(f"{name} {number - 1}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def tool(capsys):
    def run(*argv, code=0):
        capsys.readouterr()
        assert main(list(argv)) == code
        return capsys.readouterr().err

    return run


def images(folder):
    return [cv2.imread(str(folder / "images" / f"a b{n}.{'jpg' if n == 4 else 'png'}")) for n in range(5)]


@pytest.mark.parametrize(("limit", "sizes"), [(10**6, [3, 2]), (300, [2, 2, 1]), (1, [1] * 5)])
def test_images_are_decoded_together_up_to_a_number_and_to_a_number_of_bytes(folder, monkeypatch, limit, sizes):
    batches = []
    monkeypatch.setattr(imageset, "_BATCH", 3)
    monkeypatch.setattr(imageset, "_BATCH_BYTES", limit)  # an image has 144 bytes
    monkeypatch.setattr(
        imageset, "map_in_threads", lambda read, batch: (batches.append(len(batch)), list(map(read, batch)))[1]
    )
    assert imageset.convert_imageset("images/", imageset.read_image_list("list.txt"), "db") == 5
    assert batches == sizes


def test_images_become_datums_as_caffe_writes_them(folder, tool):
    err = tool("convert_imageset", "images/", "list.txt", "db")
    assert "A total of 5 images." in err
    assert "Processed 5 files." in err
    stored = list(records("db"))
    assert [at.what for at, _ in stored] == [f"record '{n:08d}_a b{n}.{'jpg' if n == 4 else 'png'}'" for n in range(5)]
    for number, ((_, datum), image) in enumerate(zip(stored, images(folder), strict=True)):
        assert (datum.channels, datum.height, datum.width, datum.label) == (3, 6, 8, number - 1)
        assert datum.data == image.transpose(2, 0, 1).tobytes()
        assert datum.HasField("encoded")
        assert not datum.encoded
    text = 'name: "d" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 5 backend: LMDB }'
    batch = open_source(parse_text(text, pb.LayerParameter), rng=CRand()).next()
    assert torch.equal(batch["data"], torch.from_numpy(np.stack(images(folder)).transpose(0, 3, 1, 2)).float())
    assert batch["label"].tolist() == [-1, 0, 1, 2, 3]


def test_images_are_resized_turned_gray_and_stored_in_either_database(folder, tool):
    pytest.importorskip("plyvel")
    flags = ["--resize_height=3", "-resize_width", "4", "--gray=true", "--backend=leveldb", "--check_size"]
    tool("convert_imageset", *flags, "images", "list.txt", "db")
    assert images(folder)
    for (_, datum), image in zip(records("db", "leveldb"), images(folder), strict=True):
        name = f"a b{datum.label + 1}.{'jpg' if datum.label == 3 else 'png'}"
        gray = cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE)
        assert (datum.channels, datum.height, datum.width) == (1, 3, 4)
        assert datum.data == cv2.resize(gray, (4, 3)).tobytes()
        assert image.shape == (6, 8, 3)


def test_unchanged_encoded_files_are_stored_byte_for_byte(folder, tool):
    tool("convert_imageset", "--encoded", "images/", "list.txt", "db")
    stored = [datum for _, datum in records("db")]
    assert [datum.data for datum in stored] == [path.read_bytes() for path in sorted((folder / "images").iterdir())]
    assert all(datum.encoded and not datum.HasField("channels") for datum in stored)
    tool("convert_imageset", "--encode_type=png", "images/", "list.txt", "png")
    for (_, datum), image in zip(records("png"), images(folder), strict=True):
        assert np.array_equal(cv2.imdecode(np.frombuffer(datum.data, np.uint8), -1), image)


def test_the_shuffle_is_caffes_and_determined_by_the_seed(folder, tool):
    orders = []
    for name, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert "Shuffling data" in tool("convert_imageset", "--shuffle", f"--seed={seed}", "images/", "list.txt", name)
        orders.append([datum.label for _, datum in records(name)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == [-1, 0, 1, 2, 3]
    tool("convert_imageset", "--noshuffle", "--shuffle=false", "images/", "list.txt", "four")
    assert [datum.label for _, datum in records("four")] == [-1, 0, 1, 2, 3]


def test_an_unreadable_image_is_skipped_and_logged(folder, tool):
    (folder / "list.txt").write_text("gone.png 0\na b1.png 1\n")
    assert "gone.png: cannot be read: No such file or directory: skipped" in tool(
        "convert_imageset", "images/", "list.txt", "db"
    )
    assert [datum.label for _, datum in records("db")] == [1]


def test_the_mean_is_summed_in_single_precision_in_order(folder, tool):
    tool("convert_imageset", "images/", "list.txt", "db")
    err = tool("compute_image_mean", "db", "mean.binaryproto")
    total = np.zeros((3, 6, 8), np.float32)
    for image in images(folder):
        total = total + image.transpose(2, 0, 1).astype(np.float32)
    message, store = read_binary("mean.binaryproto", pb.BlobProto)
    assert (message.num, message.channels, message.height, message.width) == (1, 3, 6, 8)
    assert not message.HasField("shape")
    assert store.data(message)[0].tobytes() == (total / np.float32(5)).tobytes()
    assert "Number of channels: 3" in err
    assert f"mean_value channel [1]: {channel_means(total / np.float32(5))[1]:g}" in err
    tool("convert_imageset", "--encoded", "images/", "list.txt", "coded")
    assert "Decoding Datum" in tool("compute_image_mean", "coded")
    assert np.array_equal(compute_image_mean("coded"), total / np.float32(5))


def test_single_precision_loses_digits_that_double_keeps(folder):
    from caffe_compat.data.database import new_database

    with new_database("db") as database:
        for number in range(3):
            datum = pb.Datum(channels=1, height=1, width=1, float_data=[2.0**24 if number == 0 else 1.0])
            database.put(b"%d" % number, datum.SerializeToString())
    assert compute_image_mean("db").item() == np.float32(2**24) / np.float32(3)
    assert compute_image_mean("db", double=True).item() == np.float32((2**24 + 2) / 3)


NET = """
layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 2 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 4
  weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def net(folder, tool):
    from caffe_compat import load_net, save_weights

    tool("convert_imageset", "images/", "list.txt", "db")
    (folder / "net.prototxt").write_text(NET)
    made = load_net("net.prototxt", seed=1, losses=True)
    save_weights(made, "w.caffemodel")
    batch = torch.from_numpy(np.stack([images(folder)[n] for n in (0, 1, 2, 3, 4, 0)]).transpose(0, 3, 1, 2)).float()
    return [made.every_blob({"data": batch[i : i + 2], "label": torch.zeros(2)}) for i in (0, 2, 4)]


def test_features_are_stored_row_by_row_over_batches(folder, tool, net):
    err = tool("extract_features", "w.caffemodel", "net.prototxt", "conv,ip", "f_conv,f_ip", "3", "lmdb")
    assert "Extracted features of 6 query images for feature blob ip" in err
    for blob, extents in (("conv", (2, 4, 6)), ("ip", (4, 1, 1))):
        stored = list(records(f"f_{blob}"))
        assert [at.what for at, _ in stored] == [f"record '{n:010d}'" for n in range(6)]
        expected = np.concatenate([batch[blob].detach().numpy() for batch in net])
        for (_, datum), row in zip(stored, expected, strict=True):
            assert (datum.channels, datum.height, datum.width) == extents
            assert not datum.HasField("label")
            assert np.array(datum.float_data, np.float32).tobytes() == row.tobytes()


def test_features_can_be_stored_in_hdf5(folder, tool, net):
    tool("extract_features", "w.caffemodel", "net.prototxt", "ip", "f.h5", "3", "hdf5", "CPU")
    with h5py.File("f.h5") as file:
        assert file["ip"].shape == (6, 4)
        assert np.array_equal(file["ip"][4:], net[2]["ip"].detach().numpy())
