"""Starts bundle hosts: the processes in which bundle code runs."""
