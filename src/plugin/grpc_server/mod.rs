//! *grpc_server*: how many connections and streams the gRPC service may hold.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file.
pub struct GrpcServer;

impl Plugin for GrpcServer {
    type Config = ();

    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> GrpcServer {
        GrpcServer
    }
}
