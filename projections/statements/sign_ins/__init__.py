"""The statements of the read model member_sign_ins."""
