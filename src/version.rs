//! What the program calls itself.

/// Name and version: the first line of `-version`, and what *chaos* answers without arguments.
pub const NAME_VERSION: &str = concat!("percoredns-", env!("CARGO_PKG_VERSION"));

/// The CoreDNS release whose Corefile runs unchanged.
pub const COREFILE_OF: &str = "CoreDNS-1.14.7";

/// The lines that `-version` and the start of the server print.
pub fn lines() -> String {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    format!(
        "{NAME_VERSION}\n{}/{}, rust {rust}, runs the Corefile of {COREFILE_OF}\n",
        std::env::consts::OS,
        go_arch(std::env::consts::ARCH),
    )
}

/// The name that Go, so CoreDNS, gives an architecture.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
