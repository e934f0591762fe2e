"""Find the first difference between two nets, solvers, weights, training logs, or nets run on one input."""

from caffe_compat.tools.diff.comparison import Comparison, Difference
from caffe_compat.tools.diff.definitions import diff_nets, diff_solvers
from caffe_compat.tools.diff.values import diff_logs, diff_nets_on_input, diff_states, diff_weights, seeded_inputs

__all__ = [
    "Comparison",
    "Difference",
    "diff_logs",
    "diff_nets",
    "diff_nets_on_input",
    "diff_solvers",
    "diff_states",
    "diff_weights",
    "seeded_inputs",
]
