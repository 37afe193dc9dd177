"""Tests of decisions about devices."""
