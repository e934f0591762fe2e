"""``python -m matlab_ports``: every script is there; eval_video, run_eval and writeh5file as a user runs them."""

import h5py
import numpy as np
import pytest
import scipy.io

from caffe_compat import load_net, save_weights
from matlab_ports import loadmat, savemat
from matlab_ports.__main__ import main
from matlab_ports.run_eval import statistics

H, W = 5, 7
SCRIPTS = (
    "prepare_dataset", "prepare_h5_files", "generate_h5", "writeh5file", "generate_train", "generate_test",
    "eval_video", "run_eval",
)  # fmt: skip
DEPLOY = f"""
input: "data" input_dim: 1 input_dim: 1 input_dim: {W} input_dim: {H}
input: "label" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1
layer {{ name: "Silence" type: "Silence" bottom: "label" include {{ phase: TEST }} }}
layer {{ name: "fc4" type: "InnerProduct" bottom: "data" top: "fc4"
         inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "fc5" type: "InnerProduct" bottom: "fc4" top: "fc5"
         inner_product_param {{ num_output: 1 weight_filler {{ type: "xavier" }} }} }}
"""


@pytest.fixture
def net(tmp_path):
    """The words that name a net, and what it makes of a video: fc5 and fc4 of frames seen transposed."""
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    made = load_net(tmp_path / "deploy.prototxt", seed=3)
    save_weights(made, tmp_path / "HQ.caffemodel")
    fc4, fc5 = made.fc4.weight.detach().numpy(), made.fc5.weight.detach().numpy()

    def expected(video):
        columns = np.float32(video.reshape(H * W, -1, order="F"))  # MATLAB's memory, as matcaffe hands it over
        return (fc5 @ (fc4 @ columns))[0], fc4 @ columns

    words = ["--single_model", tmp_path / "deploy.prototxt", "--single_weights", tmp_path / "HQ.caffemodel"]
    return [str(word) for word in words], expected


def recording(folder, name, frames):
    rng = np.random.default_rng(frames)
    made = {"video": rng.random((H, W, frames)), "valence": rng.random((1, frames))}
    savemat(folder / f"{name}.mat", {**made, "video_time": np.arange(frames)[None] * 0.04})
    return made


def test_help_names_every_script(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert [name for name in SCRIPTS if f"    {name} " not in text and f"    {name}\n" not in text] == []
    for script in SCRIPTS:
        with pytest.raises(SystemExit) as done:
            main([script, "--help"])
        assert done.value.code == 0


@pytest.mark.parametrize("keep", [False, True])
def test_eval_video_saves_predictions_and_features(net, tmp_path, keep, capsys):
    words, expected = net
    video = recording(tmp_path, "dev_1", 9)["video"]
    out = tmp_path / "out.mat"
    more = ["--save_feature", "1"] if keep else []
    assert main(["eval_video", str(tmp_path / "dev_1.mat"), *words, "--savepath", str(out), "--batch", "4", *more]) == 0
    made = loadmat(out)
    results, feature = expected(video)
    assert list(made) == ["results", "feature"][: 1 + keep]
    np.testing.assert_allclose(made["results"], results[None], rtol=1e-5)
    if keep:
        np.testing.assert_allclose(made["feature"], feature, rtol=1e-5)
    assert "9 frames" in capsys.readouterr().out


def test_run_eval_prints_the_scores_and_saves_the_scripts_workspace(net, tmp_path, capsys):
    words, expected = net
    frames = {"dev_1": 9, "dev_2": 5}
    made = {name: recording(tmp_path, name, count) for name, count in frames.items()}
    common = ["--data_path", str(tmp_path), "--file_name", *made, "--savepath", str(tmp_path / "out.mat")]
    assert main(["run_eval", *words, *common, "--save_feature", "1"]) == 0
    saved = scipy.io.loadmat(tmp_path / "out.mat")
    assert [str(name[0]) for name in saved["file_name"][0]] == list(frames)
    for number, name in enumerate(made):
        results, feature = expected(made[name]["video"])
        np.testing.assert_allclose(saved["results"][0, number], results[None], rtol=1e-5)
        np.testing.assert_allclose(saved["feature"][0, number], feature, rtol=1e-5)
        np.testing.assert_array_equal(saved["ground_truth"][0, number], made[name]["valence"])
        assert saved["CCC"][0, number] == statistics(saved["results"][0, number], made[name]["valence"]).CCC
    joined = [np.concatenate(list(saved[name][0]), axis=1) for name in ("results", "ground_truth")]
    total = statistics(*joined)
    assert (saved["total_RMSE"].item(), saved["total_CC"].item(), saved["total_CCC"].item()) == total
    assert f"together: RMSE {total.RMSE:.6f}, CC {total.CC:.6f}, CCC {total.CCC:.6f}" in capsys.readouterr().out


def test_a_net_that_cannot_be_run_is_refused_in_one_line(net, tmp_path, capsys):
    words, _ = net
    recording(tmp_path, "dev_1", 3)
    savemat(tmp_path / "small.mat", {"video": np.zeros((4, 4, 3))})
    (tmp_path / "odd.prototxt").write_text('layer { name: "a" type: "NoSuchLayer" top: "a" }')
    out = ["--savepath", str(tmp_path / "out.mat")]

    def refused(recording, *changed):
        assert main(["eval_video", str(tmp_path / recording), *words, *out, *map(str, changed)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("matlab_ports: error: ")
        assert "Traceback" not in err
        assert not (tmp_path / "out.mat").exists()
        return err

    assert "no_such_caffe" in refused("dev_1.mat", "--caffe", "no_such_caffe")
    assert "NoSuchLayer" in refused("dev_1.mat", "--single_model", tmp_path / "odd.prototxt")
    assert "lost.caffemodel: no such file" in refused("dev_1.mat", "--single_weights", tmp_path / "lost.caffemodel")
    assert "takes 1 x 7 x 5, the frames are 1 x 4 x 4" in refused("small.mat")


def test_writeh5file_writes_the_full_chunks_of_a_mat_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    samples = {"data": rng.random((H, W, 3, 10)), "label": rng.random((1, 10))}
    savemat(tmp_path / "samples.mat", samples)
    words = ["writeh5file", str(tmp_path / "samples.mat"), "--savepath", str(tmp_path / "a.h5"), "--chunksz", "4"]
    assert main(words) == 0
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["data"][:], np.float32(samples["data"][..., :8].T))
        np.testing.assert_array_equal(file["label"][:], np.float32(samples["label"][:, :8].T))
    assert "8 samples, data 5 x 7 x 3 x 8" in capsys.readouterr().out
    assert main([*words[:-1], "11"]) == 1
    assert "10 samples do not fill one chunk of 11" in capsys.readouterr().err
    savemat(tmp_path / "samples.mat", {"data": samples["data"][:, :, 0], "label": samples["label"]})
    assert main(words) == 1
    assert "5 x 7 x 10" in capsys.readouterr().err
