"""`python -m kvmctl` is `kvmctl`."""

from kvmctl.cli import main

main()
