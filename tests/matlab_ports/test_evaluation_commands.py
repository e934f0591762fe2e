"""``python -m matlab_ports``: the help, and the commands eval_video, run_eval and writeh5file."""

import numpy as np
import pytest
import scipy.io

from caffe_compat import load_net, save_weights
from matlab_ports import loadmat, savemat
from matlab_ports.__main__ import main
from matlab_ports.run_eval import statistics
from tests.matlab_ports.h5_recordings import assert_same, contents

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
    """The options that name a net, and a function that predicts a video: fc5 and fc4 of transposed frames."""
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    module = load_net(tmp_path / "deploy.prototxt", seed=3)
    save_weights(module, tmp_path / "HQ.caffemodel")
    fc4, fc5 = module.fc4.weight.detach().numpy(), module.fc5.weight.detach().numpy()

    def expected(video):
        columns = np.float32(video.reshape(H * W, -1, order="F"))  # MATLAB's memory, as matcaffe passes it on
        return (fc5 @ (fc4 @ columns))[0], fc4 @ columns

    words = ["--single_model", tmp_path / "deploy.prototxt", "--single_weights", tmp_path / "HQ.caffemodel"]
    return [str(word) for word in words], expected


def recording(folder, name, frames):
    rng = np.random.default_rng(frames)
    variables = {"video": rng.random((H, W, frames)), "valence": rng.random((1, frames))}
    savemat(folder / f"{name}.mat", {**variables, "video_time": np.arange(frames)[None] * 0.04})
    return variables


def test_help_names_every_script(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert [name for name in SCRIPTS if f"    {name} " not in text and f"    {name}\n" not in text] == []
    for script in SCRIPTS:
        with pytest.raises(SystemExit) as done:
            main([script, "--help"])
        assert done.value.code == 0


@pytest.mark.parametrize("save_feature", [False, True])
def test_eval_video_saves_predictions_and_features(net, tmp_path, save_feature, capsys):
    words, expected = net
    video = recording(tmp_path, "dev_1", 9)["video"]
    out = tmp_path / "out.mat"
    options = ["--save_feature", "1"] if save_feature else []
    assert (
        main(["eval_video", str(tmp_path / "dev_1.mat"), *words, "--savepath", str(out), "--batch", "4", *options]) == 0
    )
    saved = loadmat(out)
    results, feature = expected(video)
    assert list(saved) == ["results", "feature"][: 1 + save_feature]
    np.testing.assert_allclose(saved["results"], results[None], rtol=1e-5)
    if save_feature:
        np.testing.assert_allclose(saved["feature"], feature, rtol=1e-5)
    assert "9 frames" in capsys.readouterr().out


def test_run_eval_prints_the_scores_and_saves_the_scripts_workspace(net, tmp_path, capsys):
    words, expected = net
    frames = {"dev_1": 9, "dev_2": 5}
    recordings = {name: recording(tmp_path, name, count) for name, count in frames.items()}
    common = ["--data_path", str(tmp_path), "--file_name", *recordings, "--savepath", str(tmp_path / "out.mat")]
    assert main(["run_eval", *words, *common, "--save_feature", "1"]) == 0
    saved = scipy.io.loadmat(tmp_path / "out.mat")
    assert [str(name[0]) for name in saved["file_name"][0]] == list(frames)
    for number, name in enumerate(recordings):
        results, feature = expected(recordings[name]["video"])
        np.testing.assert_allclose(saved["results"][0, number], results[None], rtol=1e-5)
        np.testing.assert_allclose(saved["feature"][0, number], feature, rtol=1e-5)
        np.testing.assert_array_equal(saved["ground_truth"][0, number], recordings[name]["valence"])
        assert saved["CCC"][0, number] == statistics(saved["results"][0, number], recordings[name]["valence"]).CCC
    joined = [np.concatenate(list(saved[name][0]), axis=1) for name in ("results", "ground_truth")]
    total = statistics(*joined)
    assert (saved["total_RMSE"].item(), saved["total_CC"].item(), saved["total_CCC"].item()) == total
    assert f"total: RMSE {total.RMSE:.6f}, CC {total.CC:.6f}, CCC {total.CCC:.6f}" in capsys.readouterr().out


def test_a_net_that_cannot_run_is_one_line(net, tmp_path, capsys):
    words, _ = net
    recording(tmp_path, "dev_1", 3)
    savemat(tmp_path / "small.mat", {"video": np.zeros((4, 4, 3))})
    (tmp_path / "odd.prototxt").write_text('layer { name: "a" type: "NoSuchLayer" top: "a" }')
    out = ["--savepath", str(tmp_path / "out.mat")]

    def error_line(recording, *changed):
        assert main(["eval_video", str(tmp_path / recording), *words, *out, *map(str, changed)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("matlab_ports: error: ")
        assert "Traceback" not in err
        assert not (tmp_path / "out.mat").exists()
        return err

    assert "no_such_caffe" in error_line("dev_1.mat", "--caffe", "no_such_caffe")
    assert "NoSuchLayer" in error_line("dev_1.mat", "--single_model", tmp_path / "odd.prototxt")
    assert "lost.caffemodel: " in error_line("dev_1.mat", "--single_weights", tmp_path / "lost.caffemodel")
    assert "deploy.prototxt: data: " in error_line("small.mat")


def test_writeh5file_writes_the_full_chunks_of_a_mat_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    samples = {"data": rng.random((H, W, 3, 10)), "label": rng.random((1, 10))}
    savemat(tmp_path / "samples.mat", samples)
    words = ["writeh5file", str(tmp_path / "samples.mat"), "--savepath", str(tmp_path / "a.h5"), "--chunksz", "4"]
    assert main(words) == 0
    expected = [np.float32(samples[name][..., :8].T) for name in ("data", "label")]
    assert_same(contents(tmp_path / "a.h5"), expected)
    assert "8 samples, data 5 x 7 x 3 x 8" in capsys.readouterr().out
    assert main([*words[:-1], "11"]) == 1
    assert "chunksz = 11: " in capsys.readouterr().err
    savemat(tmp_path / "samples.mat", {"data": samples["data"][:, :, 0], "label": samples["label"]})
    assert main(words) == 1
    assert "data: has shape 5 x 7 x 10" in capsys.readouterr().err
