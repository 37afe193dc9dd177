"""Decisions about SCSI devices that VMs have of their host. Pure; who needs and has a device is judged as for PCI."""
