"""Spatio-temporal backbones: the contract (`base`), what families share (`layers`, `published`), a folder a family."""
