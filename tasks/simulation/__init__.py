"""What strategies would have done: a labelled data set, replayed as if it were being annotated."""
