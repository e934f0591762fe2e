"""Training as Caffe's solvers do it: learning rate policies, update rules, the loop with its log and snapshots."""

from __future__ import annotations

from caffe_compat.solver.log import CaffeLog
from caffe_compat.solver.loop import Solver
from caffe_compat.solver.signals import Action, SignalActions
from caffe_compat.solver.workers import Workers, launched

__all__ = ["Action", "CaffeLog", "SignalActions", "Solver", "Workers", "launched"]
