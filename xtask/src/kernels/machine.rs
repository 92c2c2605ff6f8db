//! One virtual machine: it shares this host's files, runs the battery, writes down what came of it and stops.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::archive::Kernel;
use super::guest::{BATTERY, Battery, Findings, RESULTS, START};
use super::initramfs;
use super::report::Row;
use crate::process;

/// The file that takes what the kernel prints.
const CONSOLE: &str = "console";
/// What a machine starts with.
const INITRAMFS: &str = "initramfs";
const DISK: &str = "disk";

/// How this host runs machines.
pub(crate) struct Machine {
    accelerated: bool,
}

impl Machine {
    /// With KVM where this user may use it and the processor helps, emulated otherwise. There are kinds of KVM that need no
    /// help: they run the kernels made for them, and emulate every other one instruction by instruction.
    pub(crate) fn here() -> Self {
        let usable = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self { accelerated: usable && processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm") }
    }

    pub(crate) fn how(&self) -> &'static str {
        if self.accelerated { "with KVM" } else { "emulated: no KVM for these kernels here, so this takes long" }
    }

    /// The longest that one kernel may take.
    fn limit(&self) -> Duration {
        Duration::from_mins(if self.accelerated { 30 } else { 240 })
    }

    /// Boots a kernel and runs the battery on it. What comes of it stays in `results`.
    pub(crate) fn run(&self, results: &Path, kernel: &Kernel, busybox: &Path, battery: &Battery) -> Result<Row> {
        if results.exists() {
            fs::remove_dir_all(results)?;
        }
        fs::create_dir_all(results)?;
        fs::write(results.join(BATTERY), serde_json::to_vec(battery)?)?;
        fs::write(results.join(START), start()?)?;
        let scratch = tempfile::tempdir_in(results)?;
        initramfs::write(kernel, busybox, &scratch.path().join(INITRAMFS))?;
        disk(&scratch.path().join(DISK))?;
        let begun = Instant::now();
        let mut qemu = self.command(kernel, scratch.path(), results);
        let mut child = qemu.spawn().with_context(|| format!("could not start `{}`", process::shown(&qemu)))?;
        let (status, _) = process::wait(&mut child, self.limit())?;
        let findings = fs::read(results.join(RESULTS)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let Some(findings): Option<Findings> = findings else {
            bail!("no results, qemu ended with {status}; see console and log in {}", results.display());
        };
        let minutes = begun.elapsed().as_secs() / 60;
        Ok(Row { release: kernel.release.clone(), scope: battery.scope(), findings, minutes })
    }

    /// The machine ends with us: nobody else would end it.
    fn command(&self, kernel: &Kernel, scratch: &Path, results: &Path) -> Command {
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        // What makes a kernel slower on processors that guess wrong is for nothing on one that is emulated.
        let (accelerator, processor, append) = if self.accelerated {
            ("kvm", "host", "console=ttyS0 panic=-1")
        } else {
            ("tcg,thread=multi,tb-size=1024", "max,la57=off", "console=ttyS0 panic=-1 mitigations=off")
        };
        qemu.args(["-accel", accelerator, "-cpu", processor, "-smp", "2", "-m", "4096"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(&kernel.image);
        qemu.arg("-initrd").arg(scratch.join(INITRAMFS)).args(["-append", append]);
        qemu.arg("-serial").arg(format!("file:{}", results.join(CONSOLE).display()));
        qemu.args(["-device", "virtio-rng-pci", "-drive"]);
        qemu.arg(format!("file={},format=raw,if=virtio,cache=unsafe", scratch.join(DISK).display()));
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

/// A disk for what is written inside: files in memory would count as memory, and disks are something else to a kernel.
fn disk(file: &Path) -> Result<()> {
    fs::File::create(file)?.set_len(16 << 30)?;
    process::run(
        Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-E", "lazy_itable_init=1,lazy_journal_init=1"]).arg(file),
    )
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
