"""Tests of what is seen of a host's devices."""
