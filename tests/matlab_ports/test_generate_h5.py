"""``generate_h5`` writes what the script writes, but gathers it from the disk."""

import json

import h5py
import numpy as np
import pytest

from matlab_ports import RandStream
from matlab_ports.generate_h5 import Options, generate_h5
from matlab_ports.matfile import savemat
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5
from tests.matlab_ports.h5_recordings import SIZE, assert_same, contents, names, recordings, save
from tests.reference import matlab_generate_h5 as reference
from tests.refusals import refused


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return save(folder, recordings())


def octave_recordings():
    """The inputs that the recorded JSON describes, 0-based."""
    i, j = np.arange(96)[:, None, None], np.arange(96)[None, :, None]
    for length, off in ((7, 0), (6, 100)):
        t = np.arange(length)[None, None] + off
        yield (7 * i + 3 * j + 11 * t + (i * j) % 13) % 256 / 255, (t.ravel()) * 0.03125 - 1


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("plain", {}),
        ("mix", {"mix": True}),
        ("aug", {"augmentation": True}),
        ("norm", {"mean_sub": True, "norm": True}),
    ],
)
def test_values_equal_those_of_the_original_in_octave(name, changed, version, golden, tmp_path):
    recorded = json.loads((golden / "matlab" / "generate_h5.json").read_text())[name]
    paths = save(tmp_path, octave_recordings(), version)
    done = generate_h5(paths, 96, tmp_path / "a", 4, Options(**changed))
    assert (done.samples, done.written, done.position) == (13, 12, 26 if name == "mix" else 13)
    data, label = contents(tmp_path / "a.h5")
    assert label.ravel().tolist() == np.float32(recorded["labels"]).tolist()
    for *place, value in recorded["data_probe"]:
        assert data[tuple(place)] == np.float32(value)
    assert data.sum(dtype=np.float64) == pytest.approx(recorded["sum"], rel=1e-12)
    if name == "mix":
        with np.load(golden / "matlab" / "generate_h5_mix.npz") as mix:
            np.testing.assert_array_equal(data[:4], mix["data"])
            np.testing.assert_array_equal(label[:4], mix["label"])


@pytest.mark.parametrize("mode", ["single", "multi"])
@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize(
    "changed", [{}, {"augmentation": True}, {"mean_sub": True}, {"norm": True}, {"mean_sub": True, "norm": True}]
)
def test_every_option_equals_the_transcription_of_the_script(changed, mix, mode, data, tmp_path):
    options = Options(mode=mode, mix=mix, mix_lr=(2, 3), **changed)
    generate_h5(data, SIZE, tmp_path / "a", 5, options, stream=RandStream(7), threads=2)
    path = tmp_path / ("a.h5" if mode == "single" else "a_1.h5")
    expected = reference.generate_h5(
        recordings(), SIZE, 5, reference.stream(7), mode=mode, mix=mix, mix_lr=(2, 3), **changed
    )
    assert expected[0].shape == (20, 3 if mode == "multi" else 1, SIZE, SIZE)
    assert_same(contents(path), expected)


@pytest.mark.parametrize(("chunksz", "length"), [(5, 330), (1, 3), (128, 256)])
def test_the_file_equals_that_of_the_scripts_loop_byte_for_byte(chunksz, length, tmp_path):
    """With 330 frames in chunks of 5, the index of chunks has two levels."""
    inputs = recordings((length, 4))
    generate_h5(save(tmp_path, inputs), SIZE, tmp_path / "a", chunksz)
    data, label = (values.T for values in reference.generate_h5(inputs, SIZE, chunksz, reference.stream()))
    (tmp_path / "b.h5").touch()
    with hdf5_file(tmp_path / "b.h5") as file:
        for start in range(0, data.shape[-1], chunksz):
            part, startloc = slice(start, start + chunksz), {"dat": (1, 1, 1, start + 1), "lab": (1, start + 1)}
            store2hdf5(file, data[..., part], label[:, part], start == 0, startloc, chunksz)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_consecutive_calls_share_a_stream(data, tmp_path):
    stream = RandStream()
    for name in ("a", "b"):
        generate_h5(data, SIZE, tmp_path / name, 5, Options(mix=True, mix_lr=(2, 3)), stream=stream)
    assert stream.position == 4 * 23
    second = reference.generate_h5(recordings(), SIZE, 5, reference.stream(0, 46), mix=True, mix_lr=(2, 3))
    assert_same(contents(tmp_path / "b.h5"), second)


def test_neither_threads_nor_the_class_of_the_frames_change_the_file(tmp_path):
    rng = np.random.default_rng(3)
    video, valence = rng.random((SIZE, SIZE, 300)).astype(np.float32), rng.random(300)
    files = []
    for dtype, threads in (("float64", 1), ("float64", 3), ("float32", 2)):
        savemat(tmp_path / f"{dtype}.mat", {"video": video.astype(dtype), "valence": valence})
        options = Options(mix=True, mix_lr=(2, 3), mean_sub=True, norm=True)
        generate_h5([tmp_path / f"{dtype}.mat"], SIZE, tmp_path / "a", 32, options, threads=threads, resume=False)
        files.append(contents(tmp_path / "a.h5"))
    assert_same(files[0], files[1])
    assert_same(files[0], files[2])


def test_multi_mode_spreads_samples_over_files(data, tmp_path):
    done = generate_h5(data, SIZE, tmp_path / "a", 5, Options(mode="multi", split=2))
    whole = reference.generate_h5(recordings(), SIZE, 1, reference.stream(), mode="multi")
    assert [path.name for path in done.savepaths] == ["a_1.h5", "a_2.h5"]
    assert (done.samples, done.written) == (23, 20)  # 11 each, of which 10 fill chunks
    for number, path in enumerate(done.savepaths):
        assert_same(contents(path), [values[11 * number : 11 * number + 10] for values in whole])


@pytest.mark.parametrize("label_frame", ["first", "middle", "last"])
def test_clean_triplets_are_three_frames_of_one_recording_with_the_label_of_one(label_frame, data, tmp_path):
    short = [data[0], *data[2:]]
    options = Options(mode="multi", triplets="clean", label_frame=label_frame)
    done = generate_h5(short, SIZE, tmp_path / "a", 1, options)
    assert (done.samples, done.written) == (5 + 1 + 9, 15)
    data_, label = contents(tmp_path / "a_1.h5")
    triplets = [
        (video[:, :, t : t + 3].T, np.float32(valence[t + ("first", "middle", "last").index(label_frame)]))
        for video, valence in (recordings()[n] for n in (0, 2, 3))
        for t in range(video.shape[2] - 2)
    ]
    order = RandStream().randperm(15) - 1
    for sample, number in enumerate(order):
        np.testing.assert_array_equal(data_[sample], triplets[number][0].astype(np.float32))
        assert label[sample, 0] == triplets[number][1]


def test_clean_triplets_are_degraded_frame_by_frame(data, tmp_path):
    options = Options(mode="multi", triplets="clean", mix=True, mix_lr=(2, 3))
    done = generate_h5([data[0]], SIZE, tmp_path / "a", 1, options)
    assert done.position == 7 + 5
    video, draws = recordings()[0][0], reference.stream().random_sample(12)
    frames = [reference.degrade(video[:, :, t], (2, 3)[int(np.ceil(2 * draws[t])) - 1]) for t in range(7)]
    data_, _ = contents(tmp_path / "a_1.h5")
    for sample, t in enumerate(np.argsort(draws[7:])):
        np.testing.assert_array_equal(data_[sample], np.float32([frame.T for frame in frames[t : t + 3]]))


def rows(path):
    """Samples as sortable pairs: label, bytes of the image."""
    return sorted((float(label[0]), image.tobytes()) for image, label in zip(*contents(path), strict=True))


def test_clean_and_unflipped_frames_can_be_written_too(data, tmp_path):
    def generate(name, **changed):
        done = generate_h5([data[0]], SIZE, tmp_path / name, 1, Options(**changed))
        return rows(done.savepaths[0])

    clean, flipped, mixed = generate("c"), generate("f", augmentation=True), generate("m", mix=True, mix_lr=(2, 3))
    assert generate("cf", augmentation=True, keep_unflipped=True) == sorted(clean + flipped)
    assert generate("cm", mix=True, mix_lr=(2, 3), keep_clean=True) == sorted(clean + mixed)
    assert clean != mixed != flipped
    data_, _ = contents(tmp_path / "cm.h5")
    assert len(data_) == 14
    order = RandStream(0, position=7).randperm(14) - 1
    np.testing.assert_array_equal(data_[list(order).index(7)], np.float32(recordings()[0][0][:, :, 0].T[None]))


def test_every_epoch_of_a_mixture_has_its_own_factors_and_order(data, tmp_path):
    done = generate_h5(data, SIZE, tmp_path / "a", 23, Options(mix=True, mix_lr=(2, 3, 4), mix_epochs=3))
    assert (done.samples, done.written, done.position) == (69, 69, 6 * 23)
    samples = contents(tmp_path / "a.h5")
    for epoch in range(3):
        stream = RandStream(0, position=46 * epoch)
        generate_h5(data, SIZE, tmp_path / "b", 23, Options(mix=True, mix_lr=(2, 3, 4)), stream=stream)
        assert_same([values[23 * epoch : 23 * epoch + 23] for values in samples], contents(tmp_path / "b.h5"))


def test_a_test_set_can_be_scaled_by_statistics_of_the_training_set(data, tmp_path):
    train = generate_h5(data[:2], SIZE, tmp_path / "a", 1, Options(mean_sub=True, norm=True))
    values = np.concatenate([video.ravel() for video, _ in recordings()[:2]])
    assert train.mean == pytest.approx(values.mean(), rel=1e-14)
    assert train.std == pytest.approx(values.std(ddof=1), rel=1e-14)
    options = Options(mean_sub=True, norm=True, mean=train.mean, std=train.std)
    test = generate_h5(data[2:], SIZE, tmp_path / "b", 1, options)
    assert (test.mean, test.std) == (train.mean, train.std)
    plain = generate_h5(data[2:], SIZE, tmp_path / "c", 1)
    assert (plain.mean, plain.std) == (None, None)
    (data_b, _), (data_c, _) = contents(tmp_path / "b.h5"), contents(tmp_path / "c.h5")
    np.testing.assert_allclose(data_b, (data_c - train.mean) / train.std, rtol=1e-6, atol=1e-6)


def test_the_remainder_can_be_kept(data, tmp_path):
    for chunksz in (5, 100):
        done = generate_h5(data, SIZE, tmp_path / "a", chunksz, Options(remainder="keep"))
        assert done.written == 23
        assert_same(contents(tmp_path / "a.h5"), reference.generate_h5(recordings(), SIZE, 1, reference.stream()))
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["data"].chunks == (chunksz, 1, SIZE, SIZE)


def test_fewer_samples_than_a_chunk_are_refused(data, tmp_path):
    with refused("wrong-count", file="a.h5", field="chunksz", value=128):
        generate_h5(data, SIZE, tmp_path / "a", 128)
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("changed", "code", "name"),
    [
        ({"mode": "both"}, "name-unknown", "mode"),
        ({"mix": True, "mix_lr": ()}, "out-of-range", "mix_lr"),
        ({"mix": True, "mix_lr": (3, 0.5)}, "out-of-range", "mix_lr"),
        ({"keep_clean": True}, "conflict", "keep_clean"),
        ({"mix_epochs": 2}, "conflict", "mix_epochs"),
        ({"keep_unflipped": True}, "conflict", "keep_unflipped"),
        ({"mean": 0.5}, "conflict", "mean"),
        ({"norm": True, "std": 0.0}, "out-of-range", "std"),
        ({"split": 2}, "conflict", "split"),
        ({"mode": "multi", "split": 0}, "out-of-range", "split"),
        ({"mode": "multi", "label_frame": "last"}, "conflict", "label_frame"),
    ],
)
def test_options_that_are_wrong_or_have_no_effect_are_refused(changed, code, name):
    with refused(code, field=f"options.{name}", value=changed[name]):
        Options(**changed)


FRAMES, LABELS = recordings((7,))[0]


@pytest.mark.parametrize(
    ("variables", "code", "fields"),
    [
        ({"video": FRAMES, "valence": np.where(np.arange(7) > 4, np.nan, LABELS)}, "not-finite", {"field": "valence"}),
        ({"video": FRAMES, "valence": LABELS[:5]}, "wrong-count", {}),
        ({"video": FRAMES[:5], "valence": LABELS}, "shape-mismatch", {"field": "video", "hint": "inputsz"}),
        ({"video": FRAMES}, "field-missing", {"hint": "it contains video"}),
        ({"video": FRAMES[..., 0], "valence": np.ones((3, 4))}, "shape-mismatch", {"field": "valence"}),
        (lambda path: path.write_bytes(path.read_bytes()[:-300]), "damaged-file", {}),
        (lambda path: path.unlink(), "file-missing", {}),
        (lambda path: path.write_bytes(b""), "empty", {}),
    ],
    ids=["NaN", "counts", "size", "no labels", "label matrix", "truncated", "missing", "empty"],
)
def test_a_broken_recording_is_refused_and_nothing_is_written(variables, code, fields, data, tmp_path):
    if callable(variables):
        variables(data[0])
    else:
        savemat(data[0], variables)
    (tmp_path / "a.h5").write_bytes(b"before")
    with refused(code, file="0.mat", **fields):
        generate_h5(data, SIZE, tmp_path / "a", 5)
    assert names(tmp_path) == ["a.h5", "data"]
    assert (tmp_path / "a.h5").read_bytes() == b"before"


def test_constant_frames_cannot_be_normalised(tmp_path):
    paths = save(tmp_path, [(np.full((SIZE, SIZE, 4), 0.5), np.arange(4.0))])
    with refused("out-of-range", field="options.norm"):
        generate_h5(paths, SIZE, tmp_path / "a", 1, Options(norm=True))
    assert names(tmp_path) == ["0.mat"]
