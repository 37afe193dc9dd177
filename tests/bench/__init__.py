"""Measurements: how fast kvmctl is beside virsh and bare Python."""
