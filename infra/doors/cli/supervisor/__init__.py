"""What `teachback up` runs: a thin front process, and behind it a supervisor that starts and restarts every part.

The front is what a person started. It opens a socket pair and starts the supervisor in a session of its own, with one
end. Whichever of the two dies, the other one notices by the end of that conversation and ends everything:

- front killed: the supervisor reads end-of-file, stops every part in order and exits;
- supervisor killed: its children become the front's (`lifelines.adopt_orphans`), which kills them and exits.
"""
