"""Decisions about devices that are assigned to VMs: which the host needs, which go together, which to take. Pure."""
