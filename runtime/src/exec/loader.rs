//! `ld.so [OPTION]... PROGRAM [ARGUMENT]...`: what a dynamic loader is told to run (ld.so(8); musl's `ldso/dynlink.c`).

use std::ffi::{OsStr, OsString};

/// Options with a value, in the next word or, to musl, after `=`.
const WITH_VALUE: [&str; 7] =
    ["library-path", "preload", "argv0", "audit", "inhibit-rpath", "glibc-hwcaps-prepend", "glibc-hwcaps-mask"];

/// The program named in a loader's arguments, and what it gets as its own. `None` when the loader runs none: it only shows
/// something (`--list`, `--verify`, `--help`), or it does not know an option.
pub(crate) fn loaded(argv: &[OsString]) -> Option<(&OsStr, Vec<OsString>)> {
    let mut words = argv.iter().skip(1);
    let mut own_name = None;
    let program = loop {
        let word = words.next()?;
        let Some(option) = word.as_encoded_bytes().strip_prefix(b"--") else { break word };
        if option.is_empty() {
            break words.next()?;
        }
        let option = std::str::from_utf8(option).ok()?;
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        if WITH_VALUE.contains(&name) {
            let value = match value {
                Some(value) => value.into(),
                None => words.next()?.clone(),
            };
            own_name = if name == "argv0" { Some(value) } else { own_name };
        } else if name != "inhibit-cache" {
            return None;
        }
    };
    let own_name = own_name.unwrap_or_else(|| program.clone());
    Some((program, [own_name].into_iter().chain(words.cloned()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Option<String> {
        let argv: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        loaded(&argv).map(|(program, argv)| format!("{}: {}", program.display(), argv.join(OsStr::new(" ")).display()))
    }

    #[test]
    fn the_program_is_found_behind_the_options() {
        assert_eq!(of("ld.so /usr/bin/git push").unwrap(), "/usr/bin/git: /usr/bin/git push");
        assert_eq!(of("ld.so --library-path /x --inhibit-cache git push").unwrap(), "git: git push");
        assert_eq!(of("ld.so --argv0=ls --preload /x /usr/bin/git").unwrap(), "/usr/bin/git: ls");
        assert_eq!(of("ld.so -- --git").unwrap(), "--git: --git");
        for nothing in ["ld.so", "ld.so --list /usr/bin/git", "ld.so --unknown /usr/bin/git", "ld.so --library-path"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
