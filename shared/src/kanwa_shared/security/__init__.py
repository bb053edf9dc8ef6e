"""Who is calling and what they may do: SMART Backend Services tokens, scopes, what every request passes."""
