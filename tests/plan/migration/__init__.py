"""Tests of what migration decides."""
