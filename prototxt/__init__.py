"""The authors' network and solver definitions, under the authors' folder and file names."""
