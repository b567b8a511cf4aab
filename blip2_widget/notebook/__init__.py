"""The notebook side: the magic, the result object and the gallery."""
