"""Valid and broken resources of every owned type, and what independent validators say of them."""
