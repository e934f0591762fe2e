"""Products added up in a defined order, the same bits on every processor and for every number of threads.

:mod:`~caffe_compat.kernels.order` says what is added to what; :mod:`~caffe_compat.kernels.compiled` does it with Numba,
:mod:`~caffe_compat.kernels.plain` with NumPy alone: slowly, and with the same bits.
"""
