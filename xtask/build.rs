//! Tells the tasks which target they were built for: a static `holdpoint` is built for the same.

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo::rustc-env=HOLDPOINT_TARGET={target}");
}
