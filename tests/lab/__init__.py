"""Real hosts, and the tests on them."""
