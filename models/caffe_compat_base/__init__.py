"""Code shared by the engine and the ports, without torch: errors, whole files, and a command's streams."""
