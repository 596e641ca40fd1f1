"""Users' image stores behind one Protocol."""
