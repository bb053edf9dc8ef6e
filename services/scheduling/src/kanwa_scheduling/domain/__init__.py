"""Rules of scheduling: pure functions over values, without I/O or a clock."""
