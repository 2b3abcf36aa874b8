//! The table of directives, the trait behind it and the chain that runs it.
//!
//! Runs on: data core.
//!
//! **Invariant**: plugins never import plugins.
