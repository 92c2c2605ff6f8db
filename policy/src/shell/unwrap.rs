//! Commands that only start other commands: shells, `sudo`, `env`, `xargs`, `find -exec`, `eval` and their like.

use super::options::{RUNNERS, SHELLS, WRAPPERS, Wrapper};
use super::{Input, Invocation, Reader, Word, guard};

impl Reader {
    /// Takes an invocation in and reads on in whatever it starts.
    pub(super) fn invocation(&mut self, mut invocation: Invocation, depth: usize) {
        if depth > guard::MOST_DEPTH {
            self.unknown("commands are nested too deeply to be read");
            return self.add(invocation);
        }
        let inner = match (invocation.words.first(), invocation.name().map(str::to_owned)) {
            (Some(Word::Unknown(raw)), _) => {
                self.unknown(format!("the name of a program is computed: `{raw}`"));
                None
            }
            (_, Some(name)) => self.started_by(&name, &mut invocation, depth),
            _ => None,
        };
        self.add(invocation);
        match inner {
            Some(Inner::Command(command)) => self.invocation(command, depth + 1),
            Some(Inner::Commands(commands)) => {
                for command in commands {
                    self.invocation(command, depth + 1);
                }
            }
            Some(Inner::Script(script, input)) => self.script(&script, &input, depth + 1),
            Some(Inner::Unknown(why)) => self.unknown(why),
            None => {}
        }
    }

    fn started_by(&mut self, name: &str, invocation: &mut Invocation, depth: usize) -> Option<Inner> {
        let arguments = invocation.arguments();
        if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name)) {
            return wrapped(wrapper, name, invocation);
        }
        if SHELLS.contains(&name) {
            let inner = shell(name, invocation);
            invocation.carrier = matches!(inner, Some(Inner::Script(..))) && !matches!(name, "su" | "runuser");
            return inner;
        }
        if let Some((_, verbs)) = RUNNERS.iter().find(|(runner, _)| *runner == name) {
            return runner(invocation, verbs);
        }
        match name {
            "eval" => Some(joined(arguments, Input::Inherited, "eval")),
            "trap" => {
                let script = arguments.iter().find(|word| !matches!(word.literal(), Some("--")))?;
                match script.literal() {
                    Some("" | "-" | "-l" | "-p") => None,
                    Some(script) => Some(Inner::Script(script.to_owned(), Input::Inherited)),
                    None => Some(Inner::Unknown("the command given to `trap` is computed".to_owned())),
                }
            }
            "source" | "." => match arguments.first()? {
                Word::Unknown(raw) => Some(Inner::Unknown(format!("the script `{raw}` is computed"))),
                Word::Literal(file) if reads_input(file) => Some(from_input(name, &invocation.input)),
                Word::Literal(_) => None,
            },
            "alias" => {
                let scripts = arguments.iter().filter_map(|word| Some(word.shown().split_once('=')?.1.to_owned()));
                for script in scripts.collect::<Vec<_>>() {
                    self.script(&script, &Input::Inherited, depth + 1);
                }
                None
            }
            // Bash evaluates the subscript in these even when it stands in quotes.
            "declare" | "typeset" | "local" | "export" | "readonly" | "printf" | "read" | "unset" | "test" | "["
            | "let" => {
                let hidden = arguments.iter().filter_map(Word::literal);
                let hidden: Vec<String> =
                    hidden.filter(|text| text.contains("[$(") || text.contains("[`")).map(str::to_owned).collect();
                for text in hidden {
                    self.expansions(&text, depth + 1);
                }
                None
            }
            "find" | "gfind" | "fd" | "fdfind" => found(name, invocation),
            "ssh" => remote(invocation),
            "script" => {
                let at = arguments.iter().position(|word| matches!(word.literal(), Some("-c" | "--command")))?;
                Some(joined(arguments.get(at + 1..at + 2)?, Input::Inherited, "script"))
            }
            _ => None,
        }
    }
}

/// What a command starts.
enum Inner {
    Command(Invocation),
    Commands(Vec<Invocation>),
    Script(String, Input),
    Unknown(String),
}

/// The rest of the words as a command of its own, with the same input.
fn rest(invocation: &Invocation, words: Vec<Word>) -> Option<Inner> {
    let command = Invocation { words, input: invocation.input.clone(), ..Invocation::default() };
    (!command.words.is_empty()).then_some(Inner::Command(command))
}

fn wrapped(wrapper: &Wrapper, name: &str, invocation: &mut Invocation) -> Option<Inner> {
    let arguments = invocation.arguments().to_vec();
    let mut at = 0;
    let mut skip = wrapper.skip;
    let mut sets = Vec::new();
    while let Some(word) = arguments.get(at) {
        let Some(text) = word.literal() else {
            // It may be an option, a value or the command.
            return Some(Inner::Unknown(format!("an argument of `{name}` is computed: `{}`", word.shown())));
        };
        at += 1;
        if text == "--" {
            continue;
        }
        if name == "command" && matches!(text, "-v" | "-V") {
            return None;
        }
        if name == "env"
            && let Some(split) = split_string(text, arguments.get(at))
        {
            let mut words: Vec<Word> = split.split_whitespace().map(|word| Word::Literal(word.to_owned())).collect();
            let used = usize::from(matches!(text, "-S" | "--split-string"));
            words.extend(arguments.get(at + used..).unwrap_or_default().iter().cloned());
            words.insert(0, Word::Literal("env".to_owned()));
            return rest(invocation, words);
        }
        if text.starts_with("--") {
            at += usize::from(wrapper.long.contains(&text));
        } else if text.len() > 1 && text.starts_with('-') {
            // `-u name` takes the next word, `-uname` does not.
            let cluster: Vec<char> = text.chars().skip(1).collect();
            let value = cluster.iter().position(|c| wrapper.short.contains(*c));
            at += usize::from(value == Some(cluster.len() - 1));
        } else if wrapper.sets
            && let Some((name, value)) = text.split_once('=')
        {
            sets.push((name.to_owned(), Word::Literal(value.to_owned())));
        } else if skip > 0 {
            skip -= 1;
        } else {
            at -= 1;
            break;
        }
    }
    invocation.carrier = wrapper.carrier && sets.is_empty();
    invocation.sets.extend(sets);
    let mut words = arguments.get(at..).unwrap_or_default().to_vec();
    match name {
        "watch" if words.len() == 1 => return Some(joined(&words, Input::Inherited, name)),
        // What `xargs` adds comes from its input.
        "xargs" | "parallel" if !words.is_empty() => {
            words.push(Word::Unknown("what xargs adds".to_owned()));
            let command = Invocation { words, input: Input::Inherited, ..Invocation::default() };
            return Some(Inner::Command(command));
        }
        _ => {}
    }
    rest(invocation, words)
}

/// The value of `env -S`.
fn split_string<'a>(text: &'a str, next: Option<&'a Word>) -> Option<&'a str> {
    match text {
        "-S" | "--split-string" => next.and_then(Word::literal),
        text => {
            text.strip_prefix("--split-string=").or_else(|| text.strip_prefix("-S").filter(|rest| !rest.is_empty()))
        }
    }
}

fn shell(name: &str, invocation: &Invocation) -> Option<Inner> {
    let mut arguments = invocation.arguments().iter();
    let mut command = false;
    while let Some(word) = arguments.next() {
        match word.literal() {
            None => return Some(Inner::Unknown(format!("what `{name}` is to run is computed: `{}`", word.shown()))),
            Some("--") => {}
            Some("--command") => command = true,
            Some("--rcfile" | "--init-file" | "-o" | "-O" | "+O" | "+o") => drop(arguments.next()),
            Some("-u" | "-g" | "-G" | "-w") if matches!(name, "su" | "runuser") => drop(arguments.next()),
            Some(long) if long.starts_with("--") => {}
            Some(short) if short.len() > 1 && short.starts_with(['-', '+']) => command |= short.contains('c'),
            Some(script) if command => return Some(Inner::Script(script.to_owned(), invocation.input.clone())),
            // The user to become; the command may follow.
            Some(_) if matches!(name, "su" | "runuser") => {}
            Some(file) if reads_input(file) => return Some(from_input(name, &invocation.input)),
            Some(_) => return None,
        }
        if command && arguments.len() == 0 {
            return None;
        }
    }
    Some(from_input(name, &invocation.input)).filter(|_| !matches!(name, "su" | "runuser"))
}

fn reads_input(file: &str) -> bool {
    matches!(file, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")
}

/// A shell that reads its commands from its input.
fn from_input(name: &str, input: &Input) -> Inner {
    match input {
        Input::Inherited => Inner::Commands(Vec::new()),
        Input::Text(script) => Inner::Script(script.clone(), Input::Inherited),
        Input::From(source) => Inner::Unknown(format!("`{name}` runs what `{source}` prints")),
        Input::Unknown => Inner::Unknown(format!("what `{name}` is to run comes from elsewhere")),
    }
}

fn joined(words: &[Word], input: Input, name: &str) -> Inner {
    let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
    match texts {
        Some(texts) => Inner::Script(texts.join(" "), input),
        None => Inner::Unknown(format!("the command given to `{name}` is computed")),
    }
}

/// `tool [options] verb [options] [--] command`: after `--` when there is one, else after the first plain word or two.
fn runner(invocation: &Invocation, verbs: &[&str]) -> Option<Inner> {
    let arguments = invocation.arguments();
    let verb = arguments.iter().position(|word| word.literal().is_some_and(|text| verbs.contains(&text)))?;
    let after = &arguments[verb + 1..];
    if let Some(dashes) = after.iter().position(|word| word.literal() == Some("--")) {
        return rest(invocation, after[dashes + 1..].to_vec());
    }
    let plain = |word: &Word| word.literal().is_some_and(|text| !text.starts_with('-'));
    let first = after.iter().position(plain)?;
    // In `docker exec NAME command` and `docker run IMAGE command` the first plain word is not the command.
    let containers = matches!(invocation.name(), Some("docker" | "podman" | "kubectl" | "oc"));
    rest(invocation, after[first + usize::from(containers)..].to_vec())
}

/// `find … -exec command ;`, `fd … -x command`.
fn found(name: &str, invocation: &Invocation) -> Option<Inner> {
    let starts: &[&str] = match name {
        "fd" | "fdfind" => &["-x", "-X", "--exec", "--exec-batch"],
        _ => &["-exec", "-execdir", "-ok", "-okdir"],
    };
    let mut commands = Vec::new();
    let mut words = invocation.arguments().iter();
    while let Some(word) = words.next() {
        if !word.literal().is_some_and(|text| starts.contains(&text)) {
            continue;
        }
        let inner = words.by_ref().take_while(|word| !matches!(word.literal(), Some(";" | "+")));
        let mut inner: Vec<Word> = inner
            .map(|word| match word.literal() {
                Some(text) if text.contains("{}") => Word::Unknown(text.to_owned()),
                _ => word.clone(),
            })
            .collect();
        if matches!(name, "fd" | "fdfind") {
            inner.push(Word::Unknown("what fd found".to_owned()));
        }
        commands.push(Invocation { words: inner, ..Invocation::default() });
    }
    Some(Inner::Commands(commands))
}

/// `ssh [options] host command`: the words make a script on another machine.
fn remote(invocation: &Invocation) -> Option<Inner> {
    const VALUES: &str = "BbcDEeFIiJLlmOopQRSWw";
    let arguments = invocation.arguments();
    let mut at = 0;
    while let Some(text) = arguments.get(at).and_then(Word::literal).filter(|text| text.starts_with('-')) {
        at += 1 + usize::from(text.len() == 2 && text.chars().nth(1).is_some_and(|c| VALUES.contains(c)));
    }
    let command = arguments.get(at + 1..)?;
    (!command.is_empty()).then(|| joined(command, invocation.input.clone(), "ssh"))
}
