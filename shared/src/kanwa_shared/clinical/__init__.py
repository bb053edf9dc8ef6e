"""Clinical knowledge that services share: codes, the procedure catalogue, pure rules with sources."""
