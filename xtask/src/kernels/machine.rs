//! One virtual machine: it shares this host's files, runs the battery, writes down what came of it and stops.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::archive::Kernel;
use super::guest::{BATTERY, Battery, Findings, RESULTS, START};
use super::initramfs;
use super::report::Row;
use crate::process;

/// The file that takes what the kernel prints.
const CONSOLE: &str = "console";
/// What it prints first.
const GREETING: &str = "Linux version";
/// With KVM that greeting comes within a second or two, or never.
const PATIENCE: Duration = Duration::from_secs(15);

/// How this host runs machines.
pub(crate) struct Machine {
    accelerated: bool,
}

impl Machine {
    /// With KVM where this user may use it, emulated otherwise.
    pub(crate) fn here() -> Self {
        Self { accelerated: fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok() }
    }

    pub(crate) fn how(&self) -> &'static str {
        if self.accelerated { "with KVM" } else { "emulated: no KVM that works here, so this takes long" }
    }

    /// The longest that one kernel may take.
    fn limit(&self) -> Duration {
        Duration::from_mins(if self.accelerated { 30 } else { 240 })
    }

    /// Boots a kernel and runs the battery on it.
    pub(crate) fn run(&mut self, place: &Path, kernel: &Kernel, busybox: &Path, battery: &Battery) -> Result<Row> {
        let results = place.join("results").join(&kernel.release);
        if results.exists() {
            fs::remove_dir_all(&results)?;
        }
        fs::create_dir_all(&results)?;
        fs::write(results.join(BATTERY), serde_json::to_vec(battery)?)?;
        fs::write(results.join(START), start()?)?;
        let initramfs = place.join(format!("initramfs-{}", kernel.release));
        initramfs::write(kernel, busybox, &initramfs)?;
        let begun = Instant::now();
        let mut child = self.start(kernel, &initramfs, &results)?;
        if self.accelerated && !greets(&mut child, &results)? {
            self.accelerated = false;
            println!("no kernel starts with the KVM of this host; {}", self.how());
            child = self.start(kernel, &initramfs, &results)?;
        }
        let (status, timed_out) = process::wait(&mut child, self.limit())?;
        let findings = fs::read(results.join(RESULTS)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let Some(findings): Option<Findings> = findings else {
            let why = if timed_out { "it took too long".to_owned() } else { format!("qemu ended with {status}") };
            bail!("no results, {why}; see console and log in {}", results.display());
        };
        Ok(Row { release: kernel.release.clone(), findings, took: begun.elapsed() })
    }

    fn start(&self, kernel: &Kernel, initramfs: &Path, results: &Path) -> Result<Child> {
        let mut qemu = self.command(kernel, initramfs, results);
        qemu.spawn().with_context(|| format!("could not start `{}`", process::shown(&qemu)))
    }

    fn command(&self, kernel: &Kernel, initramfs: &Path, results: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        // Nested, KVM may offer this register and then refuse to set it.
        let (accelerator, processor) =
            if self.accelerated { ("kvm", "host,-arch-capabilities") } else { ("tcg", "max,la57=off") };
        qemu.args(["-accel", accelerator, "-cpu", processor, "-smp", "2", "-m", "6144"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(kernel.tree.join(format!("boot/vmlinuz-{}", kernel.release)));
        qemu.arg("-initrd").arg(initramfs).args(["-append", "console=ttyS0 panic=-1"]);
        qemu.arg("-serial").arg(format!("file:{}", results.join(CONSOLE).display()));
        qemu.args(["-device", "virtio-rng-pci"]);
        for (tag, path, options) in [("host", Path::new("/"), "readonly=on,multidevs=remap"), ("results", results, "")]
        {
            let mut share = format!("local,id={tag},path={},security_model=none", path.display());
            if !options.is_empty() {
                write!(share, ",{options}").ok();
            }
            qemu.arg("-fsdev").arg(share);
            qemu.arg("-device").arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
        }
        qemu.stdin(Stdio::null()).process_group(0);
        qemu
    }
}

/// Whether the kernel comes up; ended when it does not. A KVM inside another virtual machine may open and yet run no
/// ordinary kernel.
fn greets(child: &mut Child, results: &Path) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && child.try_wait()?.is_none() {
        if fs::read_to_string(results.join(CONSOLE)).is_ok_and(|text| text.contains(GREETING)) {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    process::end(child, Signal::SIGKILL);
    child.wait()?;
    Ok(false)
}

/// The script that this host's shell runs as the machine's first process. It starts us again, and a restart ends the machine.
fn start() -> Result<String> {
    let xtask = std::env::current_exe()?;
    let path = std::env::var("PATH")?;
    Ok(format!(
        "export PATH='{path}' HOME=/root USER=root LOGNAME=root LANG=C.UTF-8\n\
         '{xtask}' kernels-guest /run/results >/run/results/log 2>&1\n\
         sync\n\
         echo b >/proc/sysrq-trigger\n\
         sleep 60\n",
        xtask = xtask.display()
    ))
}
