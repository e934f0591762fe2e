"""``python -m caffe_compat`` is ``caffe-compat``."""

import sys

from caffe_compat.entry import caffe_compat

if __name__ == "__main__":
    sys.exit(caffe_compat())
