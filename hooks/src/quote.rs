//! One command line, written so that a shell would read the same words back.

use std::ffi::OsString;

/// `argv` as the text of one shell command: words that need it stand in single quotes.
///
/// Bytes that are no UTF-8 become U+FFFD here; [`crate::event`] carries them beside, in hexadecimal.
pub(crate) fn command_line(argv: &[OsString]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_^".contains(c) || !c.is_ascii();
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The script of `sh -c SCRIPT` and its kin (`bash -lc`, `/bin/dash -ec`), when `argv` is exactly that.
///
/// With further arguments the script is not the whole text of the command, so it is not taken for it.
pub(crate) fn shell_script(argv: &[OsString]) -> Option<String> {
    let [shell, flags, script] = argv else { return None };
    let shell = std::path::Path::new(shell).file_name()?.to_str()?;
    let flags = flags.to_str()?.strip_prefix('-')?;
    let is_shell = matches!(shell, "sh" | "bash" | "dash" | "zsh" | "ksh" | "mksh" | "ash");
    let is_command = flags.ends_with('c') && flags.bytes().all(|b| b.is_ascii_alphabetic());
    (is_shell && is_command).then(|| script.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::{command_line, shell_script};
    use std::ffi::OsString;

    fn argv(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn words_come_back_from_a_shell() {
        let words = argv(&["printf", "%s\\n", "", "a b", "it's", "$HOME", "*", "~", "grüße", "x=1", "a\nb", "#c"]);
        let line = command_line(&words);
        let shown = std::process::Command::new("/bin/sh").arg("-c").arg(&line).output().unwrap();
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), "\na b\nit's\n$HOME\n*\n~\ngrüße\nx=1\na\nb\n#c\n");
    }

    #[test]
    fn only_an_exact_shell_command_is_unwrapped() {
        assert_eq!(shell_script(&argv(&["/bin/bash", "-lc", "a b"])).as_deref(), Some("a b"));
        assert_eq!(shell_script(&argv(&["sh", "-c", "$0", "rm"])), None);
        assert_eq!(shell_script(&argv(&["python3", "-c", "a"])), None);
        assert_eq!(shell_script(&argv(&["sh", "--rc", "a"])), None);
        assert_eq!(shell_script(&argv(&["sh", "-x", "a"])), None);
    }
}
