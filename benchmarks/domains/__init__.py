"""Domains to search on: tables of scores that were measured once, and what measured them."""
