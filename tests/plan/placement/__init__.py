"""Tests of `kvmctl/plan/placement`, with an examiner of the planner that shares none of its code."""
