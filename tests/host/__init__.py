"""Tests of `kvmctl/host`."""
