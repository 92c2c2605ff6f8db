//! `cargo xtask kernels`: Debian's kernels in virtual machines, and on each of them what Holdpoint holds there.

mod archive;
mod guest;
mod initramfs;
mod machine;
mod report;
mod scenes;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::tree::Build;
use crate::{ordinary, requirements, tree};
use archive::Archive;
use guest::Battery;
pub(crate) use guest::{Options as GuestOptions, main as guest};
use machine::Machine;

/// The release series that are looked at unless others are named: before Landlock, Debian's stable releases and what follows.
const SERIES: [&str; 4] = ["5.10", "6.1", "6.12", "newest"];

/// Options of `cargo xtask kernels`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A release, as far as it matters: `6.1`, `6.12.95`, or `newest`.
    #[arg(long, value_name = "VERSION", default_values = SERIES)]
    kernel: Vec<String>,
    /// This static `holdpoint` instead of one that is built here.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// An attack corpus to run on each kernel too, as root and as an ordinary user.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// The classes of the corpus to run.
    #[arg(long, default_value = "control,fs-read,fs-write,net,proc,priv,ipc,resource", value_name = "LIST")]
    class: String,
    /// Of the project's own tests only these, by the name of their file; worth it where machines are emulated.
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Only what takes seconds: `doctor`, and one command in each mode.
    #[arg(long, conflicts_with_all = ["corpus", "write"])]
    smoke: bool,
    /// Write what was found on these kernels, and last on others, into docs/kernels.md.
    #[arg(long)]
    write: bool,
}

/// Boots the kernels one after the other; false when one of them held less than it should.
pub(crate) fn main(options: &Options) -> Result<bool> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the kernels are those of Debian for amd64, and this machine is {}", std::env::consts::ARCH);
    }
    requirements::ensure(requirements::KERNELS)?;
    if options.corpus.is_some() {
        requirements::ensure(requirements::ATTACKS)?;
    }
    let battery = battery(options)?;
    let place = tree::target()?.join("kernels");
    fs::create_dir_all(&place)?;
    let archive = Archive::open(&place)?;
    let busybox = archive.busybox()?;
    let machine = Machine::here();
    println!("{}", machine.how());
    let results = place.join(if options.smoke { "smoke" } else { "results" });
    let mut good = true;
    for wanted in &options.kernel {
        let Some(kernel) = archive.kernel(wanted)? else {
            println!("{wanted}: no such kernel in the archive, skipped");
            continue;
        };
        println!("{}: booting", kernel.release);
        let results = results.join(wanted);
        let row = machine.run(&results, &kernel, &busybox, &battery).with_context(|| kernel.release.clone())?;
        println!("{row}");
        good &= row.good();
        if !options.smoke {
            row.keep(&results)?;
        }
    }
    if options.write {
        report::write(&report::kept(&results)?, &tree::root().join("docs/kernels.md"))?;
    }
    Ok(good)
}

/// What is to be run inside, built here: the machines share this host's files.
fn battery(options: &Options) -> Result<Battery> {
    let holdpoint = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| binary.display().to_string())?,
        None => tree::holdpoint(Build::Static)?,
    };
    let mut tests = if options.smoke { Vec::new() } else { ordinary::build(&tree::root())? };
    tests.retain(|test| options.test.is_empty() || options.test.iter().any(|name| test.name() == name));
    let corpus = options.corpus.as_ref().map(|corpus| corpus.canonicalize()).transpose().context("the corpus")?;
    Ok(Battery { holdpoint, tests, corpus: corpus.map(|corpus| (corpus, options.class.clone())) })
}
