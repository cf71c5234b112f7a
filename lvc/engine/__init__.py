"""The compiled engine: rANS, integer networks and motion in one C library, with a readable numpy reference of each."""
