-- A Subscription that was deleted and is made again under its id counts events from 1 again: what it sends must not
-- pass for repetitions of what the one before sent.
-- depends: 0004_intake_subscriptions

SET LOCAL lock_timeout = '5s';

-- Given once to each channel; part of `webhook-id`.
ALTER TABLE subscription_channel ADD COLUMN life uuid NOT NULL DEFAULT gen_random_uuid();
