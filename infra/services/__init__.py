"""The edge for people: one function per use case authorises, does its I/O, writes one unit and answers."""
