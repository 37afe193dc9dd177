"""kvmctl: a command-line VM manager for KVM hosts."""

__version__ = "0.1.0"
