//! Commands that only start other commands: shells, `sudo`, `env`, `xargs`, `find -exec`, `eval` and their like.

use super::options::{RUNNERS, RUNUSER, SHELLS, WRAPPERS, Wrapper};
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
            Some(Inner::Called(script, parameters, input)) => self.called(&script, &parameters, &input, depth + 1),
            Some(Inner::Unknown(why)) => self.unknown(why),
            None => {}
        }
    }

    fn started_by(&mut self, name: &str, invocation: &mut Invocation, depth: usize) -> Option<Inner> {
        let arguments = invocation.arguments();
        if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name)) {
            return wrapped(wrapper, name, invocation);
        }
        let names_user =
            |word: &Word| word.literal().is_some_and(|text| text.starts_with("-u") || text.starts_with("--u"));
        if name == "runuser" && arguments.iter().any(names_user) {
            return wrapped(&RUNUSER, name, invocation);
        }
        if SHELLS.contains(&name) {
            let inner = shell(name, invocation);
            invocation.carrier =
                matches!(inner, Some(Inner::Script(..) | Inner::Called(..))) && !matches!(name, "su" | "runuser");
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
            "script" => typescript(invocation),
            // In zsh it only changes how the command is called.
            "-" => rest(invocation, arguments.to_vec()),
            // To some shells `time` is a program, with options of its own.
            _ if invocation.program().is_some_and(|program| program.starts_with('-')) => {
                let time = Word::Literal("time".to_owned());
                rest(invocation, std::iter::once(time).chain(invocation.words.iter().cloned()).collect())
            }
            "capsh" => {
                let at = arguments.iter().position(|word| matches!(word.literal(), Some("--" | "==")))?;
                let again = if arguments[at].literal() == Some("--") { "bash" } else { "capsh" };
                let words = std::iter::once(Word::Literal(again.to_owned())).chain(arguments[at + 1..].iter().cloned());
                rest(invocation, words.collect())
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
    /// A script with its parameters, from `$0` on.
    Called(String, Vec<Word>, Input),
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
    let mut skip = match arguments.first().and_then(Word::literal) {
        // It has its architecture there or nowhere.
        Some(first) if name == "setarch" && first.starts_with('-') => 0,
        _ => wrapper.skip,
    };
    let mut replaced = None;
    let mut executes = false;
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
            && let Some((split, used)) = split_string(text, arguments.get(at))
        {
            // It is quoted as in a shell.
            let more = arguments.get(at + usize::from(used)..).unwrap_or_default().iter().map(quoted);
            let words: Vec<String> = [format!("env {split}")].into_iter().chain(more).collect();
            return Some(Inner::Script(words.join(" "), invocation.input.clone()));
        }
        if matches!(name, "flock" | "sg") && skip == 0 && matches!(text, "-c" | "--command") {
            return Some(joined(arguments.get(at..at + 1)?, invocation.input.clone(), name));
        }
        executes |= text.starts_with("--e") || !text.starts_with("--") && text.starts_with('-') && text.contains('x');
        if name == "xargs" {
            replaced = replacement(text, arguments.get(at)).or(replaced);
        }
        if text.starts_with("--") {
            at += usize::from(!text.contains('=') && wrapper.takes_value(text));
        } else if text.len() > 1 && text.starts_with('-') {
            // `-u name` takes the next word, `-uname` does not.
            let cluster: Vec<char> = text.chars().skip(1).collect();
            let value = cluster.iter().position(|c| wrapper.short.contains(*c));
            at += usize::from(value == Some(cluster.len() - 1));
        } else if wrapper.sets
            && let Some((name, value)) = text.split_once('=')
        {
            sets.push((name.to_owned(), Word::Literal(value.to_owned())));
        } else if skip > 0 && (name != "chrt" || text.parse::<i32>().is_ok()) {
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
        "watch" if !executes && words.iter().all(|word| word.literal().is_some()) => {
            return Some(joined(&words, Input::Inherited, name));
        }
        "sg" => return Some(joined(&words, invocation.input.clone(), name)),
        "parallel" => return Some(in_parallel(&words, &invocation.input)),
        // What `xargs` adds comes from its input.
        "xargs" if !words.is_empty() => {
            match replaced {
                Some(mark) => replace(&mut words, &mark),
                None => words.push(Word::Unknown("what xargs adds".to_owned())),
            }
            let command = Invocation { words, input: Input::Inherited, ..Invocation::default() };
            return Some(Inner::Command(command));
        }
        _ => {}
    }
    rest(invocation, words)
}

/// The value of `env -S`, and whether it is the next word.
fn split_string<'a>(text: &'a str, next: Option<&'a Word>) -> Option<(&'a str, bool)> {
    const LONG: &str = "--split-string";
    let value = match text.split_once('=') {
        Some((long, value)) if long.len() > 2 && LONG.starts_with(long) => value,
        None if text.len() > 2 && LONG.starts_with(text) => "",
        _ => {
            let cluster = text.strip_prefix('-').filter(|cluster| !cluster.starts_with('-'))?;
            let at = cluster.find(['u', 'C', 'a', 'S'])?;
            cluster[at..].strip_prefix('S')?
        }
    };
    if value.is_empty() { Some((next?.literal()?, true)) } else { Some((value, false)) }
}

/// What `xargs` replaces in its command, if this option says so.
fn replacement(text: &str, next: Option<&Word>) -> Option<String> {
    const DEFAULT: &str = "{}";
    if text.starts_with("--") {
        let (long, mark) = text.split_once('=').unwrap_or((text, DEFAULT));
        return (long.len() > 2 && "--replace".starts_with(long)).then(|| mark.to_owned());
    }
    let cluster = text.strip_prefix('-')?;
    let (option, mark) = cluster.split_at(cluster.find(|c| "IJiELRSnPsda".contains(c))?).1.split_at(1);
    match option {
        "I" | "J" if mark.is_empty() => next.map(|word| word.shown().to_owned()),
        "i" if mark.is_empty() => Some(DEFAULT.to_owned()),
        "I" | "J" | "i" => Some(mark.to_owned()),
        _ => None,
    }
}

/// `parallel command … ::: arguments`: a script, to which something is added or in which something is replaced. Without a command
/// the arguments, or the lines of the input, are scripts themselves.
fn in_parallel(words: &[Word], input: &Input) -> Inner {
    let end = words.iter().position(|word| word.shown().starts_with(":::")).unwrap_or(words.len());
    let (command, given) = words.split_at(end);
    let script = |words: &[Word], between: &str| {
        let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
        texts.map(|texts| texts.join(between)).filter(|script| !script.contains('{'))
    };
    match (command, given) {
        ([], []) => from_input("parallel", input),
        ([], [sign, scripts @ ..]) => match script(scripts, "\n").filter(|_| sign.literal() == Some(":::")) {
            Some(script) => Inner::Script(script, Input::Inherited),
            None => Inner::Unknown("what `parallel` runs is put together from what it reads".to_owned()),
        },
        _ => match script(command, " ") {
            Some(script) => Inner::Script(format!("{script} \"$added_by_parallel\""), Input::Inherited),
            None => {
                let mut words = command.to_vec();
                words.push(Word::Unknown("what parallel adds".to_owned()));
                replace(&mut words, "{");
                Inner::Command(Invocation { words, input: Input::Inherited, ..Invocation::default() })
            }
        },
    }
}

/// Takes words with a mark in them as known only when the command runs.
fn replace(words: &mut [Word], mark: &str) {
    for word in words.iter_mut().filter(|word| word.shown().contains(mark)) {
        *word = Word::Unknown(word.shown().to_owned());
    }
}

/// A word as a script has it.
fn quoted(word: &Word) -> String {
    match word {
        Word::Literal(text) => format!("'{}'", text.replace('\'', "'\\''")),
        Word::Unknown(_) => "\"$unknown\"".to_owned(),
    }
}

/// `script -c command file`, and on other systems `script file command`.
fn typescript(invocation: &Invocation) -> Option<Inner> {
    const VALUES: &str = "IOBTmEo";
    const LONG: [&str; 7] =
        ["--log-in", "--log-out", "--log-io", "--log-timing", "--logging-format", "--echo", "--output-limit"];
    let arguments = invocation.arguments();
    let mut at = 0;
    let mut file = false;
    while let Some(word) = arguments.get(at) {
        at += 1;
        let next = arguments.get(at..at + 1).unwrap_or_default();
        let text = word.shown();
        let (long, value) = text.split_once('=').map_or((text, None), |(long, value)| (long, Some(value)));
        if text == "--" {
            return rest(invocation, arguments[at..].to_vec());
        } else if long.len() > 2 && "--command".starts_with(long) {
            return Some(match value {
                Some(script) => Inner::Script(script.to_owned(), Input::Inherited),
                None => joined(next, Input::Inherited, "script"),
            });
        } else if text.starts_with("--") {
            at += usize::from(value.is_none() && LONG.contains(&long));
        } else if let Some(cluster) = text.strip_prefix('-') {
            match cluster.find(|c| c == 'c' || VALUES.contains(c)).map(|at| cluster.split_at(at)) {
                Some((_, "c")) => return Some(joined(next, Input::Inherited, "script")),
                Some((_, script)) if script.starts_with('c') => {
                    return Some(Inner::Script(script[1..].to_owned(), Input::Inherited));
                }
                Some((_, value)) => at += usize::from(value.len() == 1),
                None => {}
            }
        } else if std::mem::replace(&mut file, true) {
            return rest(invocation, arguments[at - 1..].to_vec());
        }
    }
    None
}

fn shell(name: &str, invocation: &Invocation) -> Option<Inner> {
    let mut arguments = invocation.arguments().iter();
    let mut command = false;
    while let Some(word) = arguments.next() {
        match word.literal() {
            None => return Some(Inner::Unknown(format!("what `{name}` is to run is computed: `{}`", word.shown()))),
            Some("--") => {}
            Some("--rcfile" | "--init-file" | "-o" | "-O" | "+O" | "+o") => drop(arguments.next()),
            Some("-u" | "-g" | "-G" | "-w") if matches!(name, "su" | "runuser") => drop(arguments.next()),
            Some(long) if long.starts_with("--") => match long.split_once('=') {
                None => command |= is_command(long),
                Some((option, script)) if is_command(option) => {
                    return Some(Inner::Script(script.to_owned(), invocation.input.clone()));
                }
                Some(_) => {}
            },
            Some(short) if short.len() > 1 && short.starts_with(['-', '+']) => command |= short.contains('c'),
            Some(script) if command && matches!(name, "su" | "runuser") => {
                return Some(Inner::Script(script.to_owned(), invocation.input.clone()));
            }
            Some(script) if command => {
                return Some(Inner::Called(script.to_owned(), arguments.cloned().collect(), invocation.input.clone()));
            }
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

/// Whether a long option of `su` or `fish`, which may be cut short, is followed by a script.
fn is_command(option: &str) -> bool {
    let options = ["--command", "--session-command", "--init-command"];
    option.len() > 3 && options.iter().any(|long| long.starts_with(option))
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
