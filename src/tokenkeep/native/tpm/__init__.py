"""A TPM 2.0 as it is: its device, its packets, its sessions, and what its codes mean."""
