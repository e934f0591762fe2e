"""What the ports share: file formats, random numbers, plans of HDF5 files, command streams."""
