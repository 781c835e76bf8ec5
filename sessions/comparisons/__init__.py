"""The same texts under several conditions: arms, sweeps, and how far two texts part."""
