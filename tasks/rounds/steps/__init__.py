"""The steps of a round: gather, fine-tune, evaluate, publish, finish, and what they share."""
