"""Tests of decisions about USB devices."""
