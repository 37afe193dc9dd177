"""Migration: what stands in its way, how long it will take, how it is steered, what is right after a fault. Pure."""
