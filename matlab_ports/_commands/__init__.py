"""Commands of ``python -m matlab_ports`` that need more than a call of a script."""
