"""Bytes to messages and arrays, and back: the only package that opens model files."""
