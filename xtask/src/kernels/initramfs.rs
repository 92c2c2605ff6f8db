//! The first file system of a machine: a shell, the modules that reach this host's files, and the script that enters them.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Kernel;

/// What is needed on the way, and by tests inside; modules that a kernel has built in are not found and not needed.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_rng", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p", "overlay"];

/// Makes the initramfs of a kernel: the archive format is in the kernel's driver-api/early-userspace/buffer-format.rst.
pub(crate) fn write(kernel: &Kernel, busybox: &Path, to: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "proc", "dev", "modules", "host", "upper", "guest"] {
        archive.entry(directory, 0o040_755, &[])?;
    }
    archive.entry("bin/busybox", 0o100_755, &fs::read(busybox)?)?;
    archive.entry("init", 0o100_755, include_bytes!("init.sh"))?;
    for (index, (name, module)) in modules(kernel)?.iter().enumerate() {
        archive.entry(&format!("modules/{index:02}-{name}.ko"), 0o100_644, module)?;
    }
    archive.entry("TRAILER!!!", 0, &[])?;
    fs::write(to, archive.0).with_context(|| to.display().to_string())
}

/// The wanted modules and what they depend on, in the order in which they can be loaded.
fn modules(kernel: &Kernel) -> Result<Vec<(String, Vec<u8>)>> {
    let place = ["lib/modules", "usr/lib/modules"].map(|place| kernel.tree.join(place).join(&kernel.release));
    let place = place.iter().find(|place| place.is_dir()).context("the package brings no modules")?;
    let mut files = HashMap::new();
    find(&place.join("kernel"), &mut files)?;
    let mut loaded = Vec::new();
    for name in MODULES {
        load(name, &files, &mut loaded)?;
    }
    Ok(loaded)
}

fn find(directory: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some((name, _)) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

fn load(name: &str, files: &HashMap<String, PathBuf>, loaded: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let Some(file) = files.get(&name.replace('-', "_")) else { return Ok(()) };
    if loaded.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let module = if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output().context("xz")?;
        if !output.status.success() {
            bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        }
        output.stdout
    } else {
        fs::read(file)?
    };
    for needed in dependencies(&module) {
        load(&needed, files, loaded)?;
    }
    loaded.push((name.to_owned(), module));
    Ok(())
}

/// What `depends=` says in a module's `.modinfo` section.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A `newc` archive.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let number = self.0.len();
        // Magic, inode, mode, owner, group, links, time, size, four device numbers, length of the name, no checksum.
        let fields = [number, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        write!(self.0, "070701")?;
        for field in fields {
            write!(self.0, "{field:08x}")?;
        }
        write!(self.0, "{name}\0")?;
        self.pad();
        self.0.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=9pnet,netfs\0name=9p\0";
        assert_eq!(dependencies(module), ["9pnet", "netfs"]);
        assert_eq!(dependencies(b"\0depends=\0name=9pnet\0"), Vec::<String>::new());
    }

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.entry("a", 0o100_644, b"12345").unwrap();
        archive.entry("b", 0o100_644, b"").unwrap();
        let second = archive.0.windows(6).rposition(|window| window == b"070701").unwrap();
        assert_eq!((second % 4, archive.0.len() % 4), (0, 0));
        assert_eq!(&archive.0[110..112], b"a\0");
    }
}
