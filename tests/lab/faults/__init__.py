"""Faults made on purpose: calls that fail (`sitecustomize.py`), and everything that can break under a migration."""
