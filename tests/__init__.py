"""The tests, laid out as the package is; `lab/` and `bench/` are about real hosts."""
