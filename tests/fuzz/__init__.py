"""Requests that nobody would send on purpose: none may be answered 5xx, hang, or leave memory behind.

make fuzz REQUESTS=10000 SEED=7
"""
