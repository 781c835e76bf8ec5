"""The same texts under several conditions: arms, sweeps, and the divergence of their distributions."""
