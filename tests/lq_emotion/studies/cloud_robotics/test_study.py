"""The second paper's study by one command: every table is filled, and it ends the same however often it is killed."""

import json
import shutil

import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import save_weights
from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess
from lq_emotion.nets.known.installation import write_sidecars
from lq_emotion.nets.small_resnet import small_resnet
from tests.lq_emotion.commands import assert_nothing_is_left_to_do, quiet, run
from tests.lq_emotion.processes import kill

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
pytestmark = pytest.mark.slow
VERSIONS = ("90p30", "90p10", "45p30", "45p10")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Draw both data sets and two nets to begin with."""
    folder = tmp_path_factory.mktemp("a second study")  # with blanks
    make_ferplus(FerTreeSettings(out=folder / "ferplus", images=120), quiet)
    settings = RavdessTreeSettings(
        out=folder / "ravdess", actors=4, size=(160, 90), seconds=0.7, statements=1, repetitions=1, jobs=2
    )
    make_ravdess(settings, quiet)
    prepared = Preprocessing("BGR", resize=(36, 36), crop=(32, 32), mean=np.full(3, 115, np.float32), scale=0.01)
    for seed, name in enumerate(("vggface2", "imagenet")):
        weights = folder / f"{name}.caffemodel"
        net = load_net(small_resnet(), seed=seed)
        for key, value in net.state_dict().items():
            if key.startswith("bn") and not key.endswith("mean"):
                value.fill_(1)  # statistics of a base are never 0
        save_weights(net, weights)
        write_sidecars(weights, small_resnet(), prepared, None, None)
    return folder


def arguments(data, out, *more):
    weights = [f"{name}={data / name}.caffemodel" for name in ("vggface2", "imagenet")]
    sizes = ["stage1_iterations=4", "stage2_iterations=4", "batch=16", "sequence_iterations=4", "memory=8"]
    versions = ["sizes=[[160,90],[80,45]]", "rates=[30,10]", "sequence_batch=8", "hidden=8", "sequence_hidden=8"]
    return [
        *("study", "run", "cloud-robotics", "--ferplus", str(data / "ferplus"), "--ravdess", str(data / "ravdess")),
        *("--weights", *weights, "--out", str(out), "--preset", "demo", "--set", *sizes, *versions),
        *("--folds", "4", "--qps", "24", "40", "--trials", "3", *more),
    ]


def numbers(out):
    results = json.loads((out / "study.json").read_text())
    table = json.loads((out / "link/table.json").read_text())
    images = [{**image, "weights": None, "sha256": None} for image in results["images"]]
    return images, results["clips"], table


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("a second study") / "root"
    assert run(*arguments(data, out)) == 0
    return out


def test_one_command_fills_every_table_and_a_second_does_nothing(data, undisturbed, capsys):
    images, clips, table = numbers(undisturbed)
    assert [image["base"] for image in images] == ["vggface2", "imagenet"]
    assert all(len(image["course"]) == 3 for image in images)
    cells = {(clip["method"], clip["trained"], clip["version"]) for clip in clips}
    assert cells == {
        *(("mean", None, version) for version in VERSIONS),
        *(("mode", None, version) for version in VERSIONS),
        *(("LSTM", trained, version) for trained in (*VERSIONS, "all") for version in VERSIONS),
    }
    assert len({np.sum(clip["confusion"]) for clip in clips}) == 1  # all the clips of one actor
    assert {(point["height"], point["fps"], point["qp"]) for point in table["points"]} == {
        (height, rate, qp) for height in (90, 45) for rate in (30, 10) for qp in (24, 40)
    }
    assert_nothing_is_left_to_do(capsys, *arguments(data, undisturbed))


def test_a_study_killed_at_ten_random_moments_ends_with_the_same_numbers(data, undisturbed, tmp_path):
    assert kill(arguments(data, tmp_path), times=10) == 10
    assert run(*arguments(data, tmp_path)) == 0
    assert numbers(tmp_path) == numbers(undisturbed)


def test_other_settings_do_not_continue_the_trainings_of_earlier_ones(data, undisturbed, tmp_path):
    root, other = tmp_path / "root", ("--window", "uniform", "--seed", "3")
    shutil.copytree(undisturbed, root)
    assert run(*arguments(data, root, *other)) == 0
    assert run(*arguments(data, tmp_path / "new", *other)) == 0
    assert numbers(root) == numbers(tmp_path / "new")


def test_the_link_chooses_from_the_table_of_the_study(undisturbed, capsys):
    assert run("link", "--table", undisturbed / "link/table.json", "--kbps", "64", "--json") == 0
    assert json.loads(capsys.readouterr().out)
