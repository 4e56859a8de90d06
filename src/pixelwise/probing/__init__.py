"""Probes of a frozen encoder: what linear heads and nearest neighbours can read from its features."""
