"""Where the vCPUs, helpers and memory of a VM go: pure functions from a host's facts and a wish to a placement."""
