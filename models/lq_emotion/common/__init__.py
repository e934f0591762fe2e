"""Utilities shared by all packages: JSON files, fingerprints, lists, documents, settings, jobs."""
