"""``caffe.net_spec``: define nets in Python; see :mod:`caffe_compat.definition.netspec`."""

from caffe_compat.definition.netspec import *  # noqa: F403  (its names, which it lists)
