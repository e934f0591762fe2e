"""What the engine and the ports share: the form of errors, whole files, and a command's streams; no torch."""
