"""Composition roots: which adapter each part of the system gets, and the settings that say so."""
