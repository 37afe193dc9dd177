"""Tests of what is seen of SCSI devices."""
