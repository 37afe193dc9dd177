"""A machine with real KVM, and the tests on it."""
