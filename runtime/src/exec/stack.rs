//! What the kernel has put onto a new program's stack: its arguments, and the name it was executed by.
//!
//! `/proc` tells the same of every program, but looking there costs more than all the rest of a judgement. glibc's loader
//! keeps the address of the stack in `__libc_stack_end`, and it is in this loader that a dynamic program stands when it sets up
//! its main thread. The loader's file says where, relative to that call; that the caller really stands in it is seen from its
//! code. Only what is found as expected counts: everything else is looked up in `/proc`.

use super::elf::{half, word};
use crate::notify::{PAGE, Target};
use std::ffi::OsString;

/// Where the loader is; without one of this name nothing is found here.
pub(crate) const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Bytes of code that are compared, and how many of them lie before the end of the call. Its jumps and references to the
/// loader's own data make them those of one build.
const CODE: usize = 64;
const BEFORE: usize = 48;
/// Bytes of the stack that are read. Larger environments are looked up in `/proc`.
const ROOM: usize = 16 << 10;
const WORD: usize = size_of::<u64>();
/// Keys of the list behind the environment (getauxval(3)).
const NULL: u64 = 0;
const EXECFN: u64 = 31;

/// A call with which the loader sets up the main thread.
struct Site {
    /// Where it ends, from the start of the loader on.
    end: u64,
    code: [u8; CODE],
}

/// A dynamic loader whose processes tell where their stack is.
pub(crate) struct Loader {
    sites: Vec<Site>,
    /// Where `__libc_stack_end` is, from the start of the loader on.
    variable: u64,
    stack: Vec<u8>,
}

impl Loader {
    /// From the whole of its file; `None` when it is made in a way unknown here.
    pub(crate) fn parse(file: &[u8]) -> Option<Self> {
        let sites = sites(file)?;
        (!sites.is_empty()).then_some(Self { sites, variable: variable(file)?, stack: vec![0; ROOM] })
    }

    /// Whether the caller, which stands at `instruction`, was executed by this name with these arguments. False is no answer.
    pub(crate) fn shows(&mut self, target: Target, instruction: u64, name: &[u8], argv: &[OsString]) -> bool {
        self.stack_of(target, instruction).is_some_and(|start| {
            let read = target.read(start, &mut self.stack).unwrap_or(0);
            Stack { start, bytes: &self.stack[..read] }.shows(name, argv).is_some()
        })
    }

    /// Where the stack of a process starts that stands in this loader.
    fn stack_of(&self, target: Target, instruction: u64) -> Option<u64> {
        let stands = |site: &&Site| site.end % PAGE as u64 == instruction % PAGE as u64;
        self.sites.iter().filter(stands).find_map(|site| {
            let code = instruction.checked_sub(BEFORE as u64)?;
            let variable = instruction.checked_sub(site.end)?.checked_add(self.variable)?;
            let mut found = [0; CODE + WORD];
            let read = target.read_pieces(&[(code, CODE), (variable, WORD)], &mut found).ok()?;
            (read == found.len() && found[..CODE] == site.code).then(|| word(&found, CODE))?
        })
    }
}

/// The stack from its lowest word on: number of arguments, their addresses, those of the variables, further keys and values,
/// and behind them the strings (`create_elf_tables` in `fs/binfmt_elf.c`).
struct Stack<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Stack<'_> {
    fn shows(&self, name: &[u8], argv: &[OsString]) -> Option<()> {
        let mut words = self.bytes.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word));
        is(words.next()? == argv.len() as u64)?;
        for argument in argv {
            is(self.holds(words.next()?, argument.as_encoded_bytes()))?;
        }
        is(words.next()? == NULL)?;
        words.find(|variable| *variable == NULL)?;
        loop {
            match (words.next()?, words.next()?) {
                (NULL, _) => return None,
                (EXECFN, address) => return is(self.holds(address, name)),
                _ => {}
            }
        }
    }

    /// Whether there is this string at an address.
    fn holds(&self, address: u64, text: &[u8]) -> bool {
        let into = address.checked_sub(self.start).and_then(|into| usize::try_from(into).ok());
        let rest = into.and_then(|into| self.bytes.get(into..)).and_then(|bytes| bytes.strip_prefix(text));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn is(so: bool) -> Option<()> {
    so.then_some(())
}

/// `mov $SYS_arch_prctl, %eax`, and soon after `syscall`, in the code of an ELF file.
fn sites(file: &[u8]) -> Option<Vec<Site>> {
    const LOAD: u32 = 1;
    const EXECUTABLE: u32 = 1;
    const MOVE: [u8; 5] = [0xb8, 158, 0, 0, 0];
    const CALL: [u8; 2] = [0x0f, 0x05];
    const NEAR: usize = 24;
    let (table, size, count) = (word(file, 32)? as usize, usize::from(half(file, 54)?), usize::from(half(file, 56)?));
    let mut sites = Vec::new();
    for header in file.get(table..)?.chunks_exact(size.max(1)).take(count) {
        let flag = |at: usize| {
            header.get(at..at + 4).map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        if flag(0)? != LOAD || flag(4)? & EXECUTABLE == 0 {
            continue;
        }
        let (offset, address, length) = (word(header, 8)? as usize, word(header, 16)?, word(header, 32)? as usize);
        let text = file.get(offset..offset.checked_add(length)?)?;
        for at in (0..text.len()).filter(|at| text[*at..].starts_with(&MOVE)) {
            let after = &text[at + MOVE.len()..text.len().min(at + MOVE.len() + NEAR)];
            let Some(call) = after.windows(CALL.len()).position(|bytes| bytes == CALL) else { continue };
            let end = at + MOVE.len() + call + CALL.len();
            let code = end.checked_sub(BEFORE).and_then(|start| text.get(start..start + CODE));
            sites.extend(code.and_then(|code| Some(Site { end: address + end as u64, code: code.try_into().ok()? })));
        }
    }
    Some(sites)
}

/// The value of `__libc_stack_end` among an ELF file's dynamic symbols.
fn variable(file: &[u8]) -> Option<u64> {
    const SYMBOLS: u32 = 11;
    const SYMBOL: usize = 24;
    let number = |bytes: &[u8], at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let (table, size, count) = (word(file, 40)? as usize, usize::from(half(file, 58)?), usize::from(half(file, 60)?));
    let sections: Vec<&[u8]> = file.get(table..)?.chunks_exact(size.max(1)).take(count).collect();
    let content = |section: &[u8]| {
        let (offset, length) = (word(section, 24)? as usize, word(section, 32)? as usize);
        file.get(offset..offset.checked_add(length)?)
    };
    let symbols = sections.iter().find(|section| number(section, 4) == Some(SYMBOLS))?;
    let names = content(sections.get(number(symbols, 40)? as usize)?)?;
    let named = |symbol: &&[u8]| {
        let name = number(symbol, 0).and_then(|at| names.get(at as usize..));
        name.is_some_and(|name| name.starts_with(b"__libc_stack_end\0"))
    };
    word(content(symbols)?.chunks_exact(SYMBOL).find(named)?, 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        io::{Read, Write},
        process::{Child, Command, Stdio},
    };

    /// A program that has started and waits.
    fn waiting() -> Child {
        let mut cat = Command::new("/usr/bin/cat");
        cat.arg("-u").arg("-").env_clear().env("A", "argument");
        let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    /// Where the loader of a process starts: `AT_BASE` (getauxval(3)).
    fn base(child: &Child) -> u64 {
        let bytes = fs::read(format!("/proc/{}/auxv", child.id())).unwrap();
        let words: Vec<u64> = bytes.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        words.chunks(2).find(|pair| pair[0] == 7).unwrap()[1]
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_program_in_the_loader_shows_its_name_and_arguments_and_nothing_else_does() {
        let mut loader = Loader::parse(&fs::read(LOADER).unwrap()).unwrap();
        let mut child = waiting();
        let (base, ends) = (base(&child), loader.sites.iter().map(|site| site.end).collect::<Vec<_>>());
        let target = Target::thread(child.id().cast_signed());
        let mut shows = |instruction, name: &str, argv: &[&str]| {
            let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
            loader.shows(target, instruction, name.as_bytes(), &argv)
        };
        for end in ends {
            let (at, name, argv) = (base + end, "/usr/bin/cat", ["/usr/bin/cat", "-u", "-"]);
            assert!(shows(at, name, &argv));
            for other in ["/usr/bin/ca", "/usr/bin/cats", "", "argument"] {
                assert!(!shows(at, other, &argv), "{other}");
            }
            assert!(!shows(at, name, &argv[..2]) && !shows(at, name, &["/usr/bin/cat", "-u", "-", ""]));
            assert!(!shows(at, name, &["/usr/bin/cat", "-u", ""]) && !shows(at, name, &["/usr/bin/cat", "-u", "--"]));
            // As far into a page, but in other code; and where there is none.
            assert!(!shows(at - PAGE as u64, name, &argv) && !shows(at % PAGE as u64, name, &argv));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A loader of another build is known by its code.
        let mut text = fs::read(LOADER).unwrap();
        let place = text.windows(CODE).position(|code| code == loader.sites[0].code).unwrap();
        text[place] ^= 1;
        assert_ne!(Loader::parse(&text).unwrap().sites[0].code, loader.sites[0].code);
        assert!(Loader::parse(&text[..60]).is_none() && Loader::parse(b"").is_none());
    }
}
