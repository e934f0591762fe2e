"""Nets as programs in C: convolution by tiles, fused layers, buffers of one allocation.

:mod:`~caffe_compat.kernels.fast.tiles` has the algorithm, :mod:`~caffe_compat.kernels.fast.program` makes programs of
layers, :mod:`~caffe_compat.kernels.fast.library` runs them; :mod:`~caffe_compat.kernels.fast.ops` has torch operators
of single steps, with gradients, for training. The C files are compiled when the package is installed, if there is a
compiler; without them nets run on torch's own kernels.
"""
