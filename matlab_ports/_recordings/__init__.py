"""What the scripts that prepare, shuffle and evaluate recordings share; it uses the toolbox functions."""
