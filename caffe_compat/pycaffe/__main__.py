"""``python -m caffe_compat.pycaffe script.py ARGS``: run an unchanged script that imports caffe."""

import sys

from caffe_compat.pycaffe.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
