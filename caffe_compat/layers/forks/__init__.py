"""Layer types that forks of Caffe added, one module for each family; importing this package registers them."""

from caffe_compat.layers.forks import (  # noqa: F401  (importing registers)
    bn,
    ceil_mode,
    crnn,
    detection,
    detection_evaluate,
    faces,
    interp,
    mobilenet,
    multibox,
    normalize,
    prior_box,
    rcnn,
    rfcn,
    rtpose,
    segmentation,
    segnet,
    senet,
    ssd_data,
)
