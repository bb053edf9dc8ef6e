"""Intake: referrals, triage, MDT decisions and the referral dossier."""
