"""Tests of `kvmctl/host/migration`."""
