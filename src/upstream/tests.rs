//! Scripted dialogues with upstreams.
