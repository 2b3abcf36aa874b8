//! HTTP/2 and gRPC against clients that are h2's, and frames by hand for what h2 would not send.

mod attacks;
mod calls;
mod one;
mod peer;
mod requests;
