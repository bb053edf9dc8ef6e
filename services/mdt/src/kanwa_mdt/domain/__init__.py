"""What the board shows, as pure functions of the events; no input, output or clock."""
