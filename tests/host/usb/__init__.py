"""Tests of what is seen of a host's USB devices, and done with them."""
