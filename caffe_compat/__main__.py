"""``python -m caffe_compat`` is ``caffe-compat``."""

import sys

from caffe_compat.cli import main

sys.exit(main())
