//! Dialogues with a scripted upstream under a fake clock.

mod dialogues;
mod options;
mod replies;
mod warm;
mod whole;
mod world;
