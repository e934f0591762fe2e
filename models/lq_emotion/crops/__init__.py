"""Training files of recordings: crops as MAT-files, and HDF5 files of them."""
