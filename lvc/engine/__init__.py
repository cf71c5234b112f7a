"""The compiled engine: rANS, integer networks and motion in one C library, and the same operations in numpy to read."""
