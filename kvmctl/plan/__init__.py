"""Decisions, made by pure functions from a spec and facts about a host."""
