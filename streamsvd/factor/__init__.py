"""Factorising: singular values and vectors to a tolerance that is proved."""
