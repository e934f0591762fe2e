"""Tools for nets: timing, linting, comparing, and BVLC Caffe's command line tools."""
