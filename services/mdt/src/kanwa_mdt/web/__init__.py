"""Pages, fragments and the event stream."""
