"""Utilities of all ports: errors, file formats, writing files. No module here imports a port."""
