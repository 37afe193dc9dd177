"""SCSI devices of a host: seen as PCI devices are, and given to VMs."""
