//! Tells the tasks which target a static `holdpoint` is built for: this machine with musl as its C library.

fn main() {
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the architecture for build scripts");
    println!("cargo::rustc-env=HOLDPOINT_STATIC={architecture}-unknown-linux-musl");
}
