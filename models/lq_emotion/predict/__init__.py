"""Write rows, an overlay and a page with the estimates of nets about the faces in a video, images or a camera."""
