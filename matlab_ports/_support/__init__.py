"""What every port may use: errors, file formats, writing files; nothing here imports a port."""
