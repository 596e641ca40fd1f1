"""Which of an image's labels count and train: several people's, reviewers' words, the data set's rules."""
