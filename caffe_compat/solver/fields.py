"""An account of every field of SolverParameter: read, ignored for a reason, or refused."""

from __future__ import annotations

from caffe_compat.errors import CaffeCompatError, SolverError, raise_together
from caffe_compat.schema.caffe_pb2 import SolverParameter
from caffe_compat.solver.detection import detection_settings, foreign_fields
from caffe_compat.solver.policy import check_policy
from caffe_compat.solver.rules import make_rule

READ = frozenset(
    {
        *(
            "net",
            "net_param",
            "train_net",
            "train_net_param",
            "test_net",
            "test_net_param",
            "train_state",
            "test_state",
        ),
        *("test_iter", "test_interval", "test_compute_loss", "test_initialization"),
        *("display", "average_loss", "max_iter", "iter_size", "clip_gradients"),
        *("base_lr", "lr_policy", "gamma", "power", "stepsize", "stepvalue"),
        *("momentum", "momentum2", "rms_decay", "delta", "weight_decay", "regularization_type", "type"),
        *("snapshot", "snapshot_prefix", "snapshot_diff", "snapshot_format", "snapshot_after_train"),
        *("random_seed", "weights", "solver_mode", "device_id", "debug_info"),
    }
)
IGNORED = {
    "layer_wise_reduce": "it orders the exchange between several GPUs; there is one device here",
    "solver_type": "the older spelling of type, which it was upgraded to",
}


def check_solver(param: SolverParameter) -> None:
    """Refuse a solver definition that cannot run, with all problems in one error."""
    problems: list[CaffeCompatError] = foreign_fields(param)
    for name, least in (("average_loss", 1), ("display", 0), ("snapshot", 0), ("max_iter", 0), ("test_interval", 0)):
        if getattr(param, name) < least:
            problems.append(
                SolverError(f"must be at least {least}", code="out-of-range", field=name, value=getattr(param, name))
            )
    for check in (check_policy, make_rule, detection_settings):
        try:
            check(param)
        except CaffeCompatError as error:
            problems += error.problems
    raise_together(problems)
