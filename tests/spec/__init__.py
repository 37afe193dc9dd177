"""Tests of `kvmctl/spec`."""
