"""Evaluation: real files in, real files on disk, named settings, every codec on the same frames."""
