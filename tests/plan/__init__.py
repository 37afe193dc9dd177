"""Tests of `kvmctl/plan`."""
