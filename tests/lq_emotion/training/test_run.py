"""Whose snapshots a stage's folder has."""

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.training.run import Run, train
from tests.refusals import refused


def test_snapshots_are_kept_for_the_same_training_only(tmp_path, monkeypatch):
    data = tmp_path / "data.h5"
    data.write_bytes(b"one")
    run, net, begun = Run(tmp_path / "run", "net", ""), pb.NetParameter(name="net"), []

    def trained(run, solver, say):
        begun.append(solver.max_iter)
        run.snapshot(solver.max_iter).touch()

    monkeypatch.setattr(Run, "train", trained)

    def trains(rate, iterations=4, **options):
        """Tell whether a training begins."""
        begun.clear()
        train(run, net, pb.SolverParameter(base_lr=rate, max_iter=iterations), print, inputs=[data], **options)
        return bool(begun)

    assert trains(0.5)
    assert not trains(0.5)
    assert trains(0.25)
    data.write_bytes(b"two")
    assert trains(0.25)
    assert trains(0.25, longer=True)
    assert trains(0.25, 6, longer=True)
    assert run.snapshot(4).is_file()  # which the longer one continues
    assert trains(0.25, 8)
    assert not run.snapshot(4).is_file()


def test_snapshots_and_logs_that_no_training_wrote_are_refused_and_stay(tmp_path):
    run, data = Run(tmp_path / "run", "net", ""), tmp_path / "data.h5"
    data.write_bytes(b"one")
    run.folder.mkdir()
    run.log.write_text("mine")
    with refused("foreign-files"):
        train(run, pb.NetParameter(name="net"), pb.SolverParameter(max_iter=4), print, inputs=[data])
    assert run.log.read_text() == "mine"
