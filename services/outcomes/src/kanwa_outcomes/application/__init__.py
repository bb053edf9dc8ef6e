"""What outcomes does when something is recorded, when something happened elsewhere, and when time runs out."""
