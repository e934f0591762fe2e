"""From recordings to training files: crops as MAT-files, and HDF5 files of them."""
