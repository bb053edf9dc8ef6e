"""What can go wrong when the embedded servers start."""


class EmbeddedServerError(Exception):
    """A server of the embedded run can't start; the message says why and what to do, in words for a user."""


class FolderInUseError(EmbeddedServerError):
    """Another run holds the folder."""
