"""Tests of `kvmctl/commands`."""
