"""Whose snapshots a stage's folder holds."""

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.training.run_folder import begin
from lq_emotion.training.trainer import Run


def test_snapshots_are_kept_for_the_same_training_only(tmp_path):
    data = tmp_path / "data.h5"
    data.write_bytes(b"one")
    run, net = Run(tmp_path / "run", "net", ""), pb.NetParameter(name="net")

    def keeps(solver):
        begin(run, net, solver, [data])
        return run.snapshot(4).is_file()

    slow = pb.SolverParameter(base_lr=0.5)
    assert not keeps(slow)
    run.snapshot(4).touch()
    assert keeps(slow)
    assert not keeps(pb.SolverParameter(base_lr=0.25))
    run.snapshot(4).touch()
    data.write_bytes(b"two")
    assert not keeps(pb.SolverParameter(base_lr=0.25))
