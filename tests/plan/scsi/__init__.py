"""Tests of decisions about SCSI devices."""
