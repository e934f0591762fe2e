"""lq-emotion verify on intact and on damaged files."""

import hashlib
import json
import operator
import shutil
import struct
from functools import partial

import h5py
import numpy as np
import pytest

from caffe_compat import read_weights
from caffe_compat.formats.blobs import BlobStore
from caffe_compat.formats.files import read_binary, write_binary, write_weights_h5
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.cli import main
from lq_emotion.verify import engines
from tests.lq_emotion.commands import write_three_frame_net
from tests.signing import signed


def flip(path, place, bit=0):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def changed(path, change):
    """Write weights again with a change of their blobs by layer."""
    message, _ = read_binary(path, pb.NetParameter)
    blobs = {name: [np.array(array) for array in arrays] for name, arrays in read_weights(path).items()}
    change(blobs)
    store = BlobStore()
    for layer in message.layer:
        arrays = blobs.get(layer.name, [])
        layer.ClearField("blobs")
        for array in arrays:
            store.attach(layer.blobs.add(), array)
    write_binary(message, path, store)


def renamed(path, old, new):
    message, store = read_binary(path, pb.NetParameter)
    for layer in message.layer:
        if layer.name == old:
            layer.name = new
    write_binary(message, path, store)


def problems(result):
    return result["problems"] + [problem for file in result["files"] for problem in file["problems"]]


@pytest.fixture(scope="module")
def passed(drawn, tmp_path_factory):
    """The result of the drawn weights."""
    out = tmp_path_factory.mktemp("passed") / "verify.json"
    assert main(["verify", "--weights", str(drawn), "--out", str(out), "--device=cpu"]) == 0
    return out


def test_undamaged_files_pass_and_the_result_describes_them(drawn, passed):
    result = json.loads(passed.read_text())
    assert result["verdict"] == "passed"
    assert [(file["file"], file["network"], file["training"]) for file in result["files"]] == [
        ("class/HQ.caffemodel", "CNN+D", "HR or LR"),
        ("recon/SR_12.caffemodel", "SR-FCN", None),
    ]
    for file in result["files"]:
        path = drawn / file["file"]
        assert file["bytes"] == path.stat().st_size
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert file["problems"] == []
    first = result["files"][0]["blobs"][0]
    assert (first["layer"], first["index"], first["shape"]) == ("conv1", 0, [64, 1, 5, 5])
    conv1 = read_weights(drawn / "class/HQ.caffemodel")["conv1"][0]
    assert first["sha256"] == hashlib.sha256(conv1.tobytes()).hexdigest()
    assert result == signed(result)
    assert result["versions"]["torch"]
    assert str(drawn) not in passed.read_text()


def test_every_blob_is_compared_with_opencvs_and_within_the_limit(passed):
    result = json.loads(passed.read_text())
    for file, blobs in zip(
        result["files"],
        (["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5"], ["conv1", "conv2", "conv3", "conv4"]),
        strict=True,
    ):
        differences = file["engines"]["opencv"]
        assert [blob["blob"] for blob in differences] == blobs
        assert all(0 <= blob["relative"] <= 1e-5 and blob["largest"] > 0 for blob in differences)
        assert file["engines"]["caffe"] is None
    assert result["caffe_absent"]


def test_a_flipped_byte_fails_against_the_earlier_result_which_names_the_blob(passed, folder, weights, verify):
    place = weights.stat().st_size // 2  # in the midst of fc4, in the last bits of a weight
    flip(weights, place - place % 4 + 2)
    code, result, output = verify(folder, "--against", passed)
    assert code == 1
    assert result["verdict"] == "failed"
    missing, problem = problems(result)
    assert missing == "recon/SR_12.caffemodel is missing; the earlier result has it"
    assert "the file has changed" in problem
    assert "layer 'fc4' blobs[0]" in problem
    assert "conv1" not in problem
    assert "FAILED  the file has changed" in output
    assert "the weights did not pass" in output


@pytest.mark.parametrize("part", ["first", "name", "weights", "last"])
def test_any_flipped_byte_fails_against_the_earlier_result(passed, folder, weights, verify, part):
    content = weights.read_bytes()
    place = {"first": 0, "name": content.index(b"relu2"), "weights": 5_000_000, "last": len(content) - 1}[part]
    flip(weights, place)
    code, result, _ = verify(folder, "--against", passed)
    assert code == 1
    assert any("the file has changed" in problem for file in result["files"] for problem in file["problems"])


def test_a_flipped_byte_that_leaves_a_plausible_weight_passes_with_a_remark(folder, weights, verify):
    flip(weights, 5_000_000 - 5_000_000 % 4)
    code, _, output = verify(folder)
    assert code == 0
    assert "is the same to every engine and was not looked for" in output


def test_a_second_run_compares_with_the_result_of_the_first_and_leaves_it(folder, weights, verify):
    code, first, _ = verify(folder)
    assert code == 0
    assert first["against"] is None
    flip(weights, 5_000_001)
    code, second, output = verify(folder)
    assert code == 1
    assert second == first
    assert "is unchanged: a failed result" in output
    code, third, _ = verify(folder, "--fresh")
    assert code == 0
    assert third["files"][0]["sha256"] != first["files"][0]["sha256"]


def flip_exponent(path):
    value = read_weights(path)["fc4"][0].ravel()[1000]
    flip(path, path.read_bytes().index(struct.pack("<f", value)) + 3, bit=6)  # the exponent's highest bit


def clear_conv2(blobs):
    blobs["conv2"][0].ravel()[5000:6000] = 0


def set_conv3(path, value):
    changed(path, lambda blobs: operator.setitem(blobs["conv3"][0], (7, 5, 3, 1), value))


def as_hdf5(path):
    """Write weights as HDF5 in the place of a caffemodel."""
    target = path.with_name(f"{path.name}.h5")
    write_weights_h5(target, read_weights(path))
    path.unlink()
    return target


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def delete_blob(path):
    with h5py.File(as_hdf5(path), "a") as file:
        del file["data/fc5/1"]


DAMAGE = {
    "impossible weight": (flip_exponent, "layer 'fc4': blobs[0]", "beyond 10000 or not finite"),
    "renamed layer": (
        lambda path: renamed(path, "conv2", "convolution2"),
        "class/HQ.caffemodel: layer 'convolution2': CNN+D, the nearest network, has no layer",
        "did you mean 'conv2'?",
    ),
    "truncated": (lambda path: truncate(path, 7_000_000), "class/HQ.caffemodel: layer[", "truncated or malformed"),
    **{
        f"a weight of {value}": (
            partial(set_conv3, value=value),
            f"layer 'conv3': blobs[0]: 1 of 819200 values are beyond 10000 or not finite, as {value:g} at (7, 5, 3, 1)",
        )
        for value in (np.nan, np.inf, -np.inf, 20000.0)
    },
    "hole": (
        lambda path: changed(path, clear_conv2),
        "layer 'conv2'",
        "1000 zeros in a row from value 5000 on: a hole in the file",
    ),
    "truncated HDF5": (lambda path: truncate(as_hdf5(path), 3_000_000), "HDF5 file is damaged"),
    "HDF5 without a blob": (
        delete_blob,
        "layer 'fc5': blobs: the weights have 1 blobs, the net expects 2 (compared with CNN+D, the nearest network)",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_weights_fail_with_their_layer_and_the_reason(kind, folder, weights, verify):
    damage, *parts = DAMAGE[kind]
    damage(weights)
    code, result, _ = verify(folder)
    assert code == 1
    (problem,) = problems(result)
    assert all(part in problem for part in parts), problem
    if kind == "truncated":
        assert result["files"][0]["network"] is None


def test_weights_of_a_net_of_three_frames_fail_with_what_runs_them(folder, verify):
    write_three_frame_net(folder)
    code, result, _ = verify(folder)
    assert code == 1
    (problem,) = problems(result)
    assert "layer 'conv1': blobs[0]: weights have shape (64, 3, 5, 5)" in problem
    assert "caffe-compat test" in problem
    assert [entry["verdict"] for entry in result["files"]] == ["passed", "failed"]


def test_a_damaged_file_fails_and_the_others_are_verified(drawn, folder, verify):
    shutil.copy(drawn / "class/HQ.caffemodel", folder / "class/a.caffemodel")
    (folder / "class/HQ.caffemodel").write_bytes(b"not weights")
    code, result, output = verify(folder)
    assert code == 1
    assert [file["verdict"] for file in result["files"]] == ["passed", "failed"] or [
        file["verdict"] for file in result["files"]
    ] == ["failed", "passed"]
    assert "1 of 2 files did not pass" in output


@pytest.mark.parametrize("kind", ["absent", "empty", "others"])
def test_a_folder_without_weights_is_one_line(tmp_path, verify, kind):
    folder = tmp_path / "w"
    if kind != "absent":
        folder.mkdir()
    if kind == "others":
        (folder / "a.solverstate").write_bytes(b"x")
    code, result, output = verify(folder)
    assert code == 1
    assert result is None
    says = {"absent": "no such folder", "empty": "it is empty", "others": "it has a.solverstate"}
    assert output.startswith("lq-emotion: error: ")
    assert says[kind] in output
    assert output.count("\n") == 1


def old_form(path):
    """Write a caffemodel as the Caffe of 2014 did: V1 layers, four extents to a blob."""
    message, _ = read_binary(path, pb.NetParameter)
    arrays = read_weights(path)
    old, store = pb.NetParameter(name=message.name), BlobStore()
    kinds = {"Convolution": "CONVOLUTION", "InnerProduct": "INNER_PRODUCT"}
    for layer in message.layer:
        if layer.type in kinds:
            new = old.layers.add(name=layer.name, bottom=layer.bottom, top=layer.top)
            new.type = pb.V1LayerParameter.LayerType.Value(kinds[layer.type])
            new.convolution_param.CopyFrom(layer.convolution_param)
            new.inner_product_param.CopyFrom(layer.inner_product_param)
            new.ClearField("inner_product_param" if layer.type == "Convolution" else "convolution_param")
            for array in arrays[layer.name]:
                four = array.reshape((1,) * (4 - array.ndim) + array.shape)
                store.attach(new.blobs.add(), four, legacy_shape=True)
    write_binary(old, path, store)


@pytest.mark.parametrize(("convert", "kind"), [(old_form, "caffemodel"), (as_hdf5, "HDF5")])
def test_weights_of_another_form_pass_with_the_same_hashes(convert, kind, passed, folder, weights, verify):
    convert(weights)
    if convert is old_form:
        message, _ = read_binary(weights, pb.NetParameter)
        assert message.layers
        assert not message.layer
    code, result, output = verify(folder)
    assert code == 0, output
    (file,) = result["files"]
    assert (file["kind"], file["network"], file["training"]) == (kind, "CNN+D", None)
    assert len(file["engines"]["opencv"]) == 8
    first, second = (
        {(blob["layer"], blob["index"]): blob["sha256"] for blob in one["blobs"]}
        for one in (file, json.loads(passed.read_text())["files"][0])
    )
    assert first == second


def test_a_disagreement_of_the_engines_fails_and_names_blob_and_place(folder, verify, monkeypatch):
    genuine = engines.run_opencv

    def wrong(*args):
        blobs = genuine(*args)
        blobs["pool2"] = blobs["pool2"].copy()
        blobs["pool2"][2, 5, 3, 4] += 0.01
        return blobs

    monkeypatch.setattr(engines, "run_opencv", wrong)
    code, result, _ = verify(folder)
    assert code == 1
    (problem,) = problems(result)
    assert problem.startswith("opencv and ours disagree: blob 'pool2' at (2, 5, 3, 4): 0.01 apart")


def test_without_opencvs_importer_there_is_one_clear_error(folder, verify, monkeypatch):
    import cv2

    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe")
    code, result, output = verify(folder)
    assert code == 1
    assert result is None
    assert output == (
        f"lq-emotion: error: OpenCV {cv2.__version__}, the second engine, has no importer for Caffe's files "
        "(pip install 'opencv-python>=4.10,<5')\n"
    )


def test_the_definition_that_a_file_records_must_be_the_one_it_is_recognised_as(folder, weights, verify):
    message, store = read_binary(weights, pb.NetParameter)
    layers = {layer.name: layer for layer in message.layer}
    layers["conv2"].convolution_param.stride[:] = [2]
    layers["pool1"].pooling_param.pool = pb.PoolingParameter.AVE
    layers["relu3"].type = "Sigmoid"
    write_binary(message, weights, store)
    code, result, _ = verify(folder)
    assert code == 1
    assert sorted(problems(result)) == [
        "class/HQ.caffemodel: layer 'conv2': stride = (2, 2): recorded in this file, but CNN+D has (1, 1)",
        "class/HQ.caffemodel: layer 'pool1': pool = 'AVE': recorded in this file, but CNN+D has MAX",
        "class/HQ.caffemodel: layer 'relu3': negative_slope: recorded in this file, but CNN+D has 0.0",
        "class/HQ.caffemodel: layer 'relu3': type = 'Sigmoid': recorded in this file, but CNN+D has ReLU",
    ]


def test_copies_are_remarked_upon(folder, weights, verify):
    weights.write_bytes(weights.read_bytes()[:5000])
    shutil.copy(weights, weights.with_name("LR_3.caffemodel"))
    _, result, output = verify(folder)
    assert result["files"][1]["remarks"] == ["has the same bytes as class/HQ.caffemodel"]
    assert "note    has the same bytes" in output


def test_a_single_file_can_be_verified_and_json_is_on_stdout_alone(weights, tmp_path, capsys):
    out = tmp_path / "v.json"
    assert main(["verify", "--weights", str(weights), "--out", str(out), "--json", "--device=cpu"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result == json.loads(out.read_text())
    assert [file["file"] for file in result["files"]] == ["HQ.caffemodel"]
    assert "HQ.caffemodel: begins" in output.err


def test_where_nothing_can_be_written_nothing_is_begun(folder, tmp_path, capsys):
    for out, says in ((tmp_path / "no" / "v.json", "no such folder"), (tmp_path, "this is a folder")):
        assert main(["verify", "--weights", str(folder), "--out", str(out)]) == 1
        output = capsys.readouterr()
        assert says in output.err
        assert "begins" not in output.out


def test_a_foreign_file_is_not_replaced(folder, tmp_path, verify):
    (tmp_path / "verify.json").write_text('{"mine": 1}')
    code, result, output = verify(folder)
    assert code == 1
    assert result == {"mine": 1}
    assert "is not a result of lq-emotion verify (--fresh replaces it)" in output
