//! What both bench programs use: messages, and a server without sockets.
#![allow(dead_code)] // each program uses its own part of it

pub mod cluster;
pub mod host;
pub mod sample;
