"""Convert between files and messages with arrays; only this package opens model files."""
