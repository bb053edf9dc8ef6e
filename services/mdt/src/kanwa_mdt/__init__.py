"""MDT: the board and the event stream."""
