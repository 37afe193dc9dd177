"""Migration on real hosts: facts of both ends, the move itself, and the way back from whatever broke."""
