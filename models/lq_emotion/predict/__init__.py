"""From any video, images or camera to rows, an overlay and a page: what nets estimate about the faces in it."""
