"""Code shared by the scripts that prepare, shuffle and evaluate recordings; it uses the toolbox functions."""
