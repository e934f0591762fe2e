"""FER+: images of faces with the votes of ten taggers on their emotion."""
