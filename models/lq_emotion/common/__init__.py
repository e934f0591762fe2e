"""Utilities shared by all packages: JSON files, fingerprints, natural order, devices."""
