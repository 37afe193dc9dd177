"""Devices of a host that VMs can have: seen with libvirt's eyes and, on this machine, with its own."""
