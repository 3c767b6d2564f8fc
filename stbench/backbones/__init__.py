"""Spatio-temporal backbones: the contract (`base`), shared parts (`layers`, `attention`) and one file per family."""
