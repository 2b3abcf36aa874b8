//! Tests of *whoami*.
