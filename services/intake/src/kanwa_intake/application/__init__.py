"""The use cases of intake: one module per thing that happens to a referral."""
