"""Matrix products summed in a defined order: the same bits on every processor and with any number of threads.

:mod:`~caffe_compat.kernels.order` defines the order; :mod:`~caffe_compat.kernels.compiled` implements it with Numba,
:mod:`~caffe_compat.kernels.plain` with NumPy alone: slower, with the same bits.
"""
