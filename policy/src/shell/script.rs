//! Walking over a parsed script: every program it may start, whether or not its branch is taken.

use super::word::{self, Known};
use super::{Input, Invocation, Reader, Word, guard};
use brush_parser::ast;

impl Reader {
    /// Reads a script that gets `input`. What cannot be read is remembered as unknown.
    pub(super) fn script(&mut self, text: &str, input: &Input, depth: usize) {
        // A thread costs more than all the rest of a judgement, so only what has a script in it gets one.
        if std::mem::replace(&mut self.deep_stack, true) {
            return self.parse(text, input, depth);
        }
        guard::on_own_stack(self, |reader| reader.parse(text, input, depth));
        self.deep_stack = false;
    }

    /// Reads a script with its parameters, from `$0` on.
    pub(super) fn called(&mut self, text: &str, parameters: &[Word], input: &Input, depth: usize) {
        let literal = |word: &Word| word.literal().map(str::to_owned);
        let known = parameters.iter().map(literal).collect();
        let before = std::mem::replace(&mut self.parameters, known);
        let first = self.read.invocations.len();
        self.script(text, input, depth);
        let started = self.read.invocations.get(first..).unwrap_or_default();
        if !parameters.is_empty() && started.iter().any(changes_parameters) {
            self.unknown("the script changes its parameters");
        }
        self.parameters = before;
    }

    fn parse(&mut self, text: &str, input: &Input, depth: usize) {
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > guard::MOST_BYTES {
            return self.unknown("the script is too long to be read");
        }
        if depth > guard::MOST_DEPTH {
            return self.unknown("commands are nested too deeply to be read");
        }
        if let Err(why) = guard::count(text) {
            return self.unknown(why);
        }
        let options = brush_parser::ParserOptions::default();
        let tokens = match brush_parser::uncached_tokenize_str(text, &options.tokenizer_options()) {
            Ok(tokens) => tokens,
            Err(error) => return self.unknown(format!("the script cannot be read: {error}")),
        };
        if let Err(why) = guard::weigh(&tokens) {
            return self.unknown(why);
        }
        match brush_parser::parse_tokens(&tokens, &options) {
            Ok(program) => {
                for list in &program.complete_commands {
                    self.list(list, input, depth);
                }
            }
            Err(_) => self.unknown("the script is not well formed"),
        }
    }

    fn list(&mut self, list: &ast::CompoundList, input: &Input, depth: usize) {
        for ast::CompoundListItem(and_or, _) in &list.0 {
            self.pipeline(&and_or.first, input, depth);
            for next in &and_or.additional {
                let (ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline)) = next;
                self.pipeline(pipeline, input, depth);
            }
        }
    }

    /// Each command of a pipeline reads what the one before it prints.
    fn pipeline(&mut self, pipeline: &ast::Pipeline, input: &Input, depth: usize) {
        let mut input = input.clone();
        for command in &pipeline.seq {
            let first = self.read.invocations.len();
            self.command(command, &input, depth);
            input = self.output_since(first);
        }
    }

    /// What the commands read since `first` print, as far as that is known.
    fn output_since(&self, first: usize) -> Input {
        let started = self.read.invocations.get(first..).unwrap_or_default();
        match started {
            [only] if matches!(only.name(), Some("echo" | "printf")) => printed(only),
            [only] if only.name() == Some("cat") => match (&only.input, only.arguments()) {
                (Input::Text(text), []) if only.writes.is_empty() => Input::Text(text.clone()),
                _ => Input::From("cat".to_owned()),
            },
            _ => match started.iter().rev().find_map(Invocation::name) {
                Some(name) => Input::From(name.to_owned()),
                None => Input::Unknown,
            },
        }
    }

    fn command(&mut self, command: &ast::Command, input: &Input, depth: usize) {
        match command {
            ast::Command::Simple(simple) => self.simple(simple, input, depth),
            ast::Command::Compound(compound, redirects) => self.compound(compound, redirects.as_ref(), input, depth),
            ast::Command::Function(function) => {
                let ast::FunctionBody(body, redirects) = &function.body;
                let first = self.read.invocations.len();
                let own = std::mem::take(&mut self.parameters);
                self.compound(body, redirects.as_ref(), &Input::Unknown, depth);
                self.parameters = own;
                let started = self.read.invocations.get(first..).unwrap_or_default();
                if started.iter().any(|inner| inner.program() == Some(&function.fname.value)) {
                    self.unknown(format!("the function `{}` starts itself", function.fname.value));
                }
            }
            ast::Command::ExtendedTest(test, redirects) => {
                self.test(&test.expr, depth);
                self.redirects_of_group(redirects.as_ref(), input, depth);
            }
        }
    }

    fn compound(
        &mut self,
        compound: &ast::CompoundCommand,
        redirects: Option<&ast::RedirectList>,
        input: &Input,
        depth: usize,
    ) {
        let input = &self.redirects_of_group(redirects, input, depth);
        match compound {
            ast::CompoundCommand::Arithmetic(arithmetic) => self.expansions(&arithmetic.expr.value, depth),
            ast::CompoundCommand::ArithmeticForClause(clause) => {
                for part in [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten() {
                    self.expansions(&part.value, depth);
                }
                self.list(&clause.body.list, input, depth);
            }
            ast::CompoundCommand::BraceGroup(group) => self.list(&group.list, input, depth),
            ast::CompoundCommand::Subshell(shell) => self.list(&shell.list, input, depth),
            ast::CompoundCommand::ForClause(clause) => {
                self.variables.remove(&clause.variable_name);
                for value in clause.values.iter().flatten() {
                    self.expansions(&value.value, depth);
                }
                self.list(&clause.body.list, input, depth);
            }
            ast::CompoundCommand::CaseClause(clause) => {
                self.expansions(&clause.value.value, depth);
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.expansions(&pattern.value, depth);
                    }
                    if let Some(list) = &case.cmd {
                        self.list(list, input, depth);
                    }
                }
            }
            ast::CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition, input, depth);
                self.list(&clause.then, input, depth);
                for otherwise in clause.elses.iter().flatten() {
                    if let Some(condition) = &otherwise.condition {
                        self.list(condition, input, depth);
                    }
                    self.list(&otherwise.body, input, depth);
                }
            }
            ast::CompoundCommand::WhileClause(clause) | ast::CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0, input, depth);
                self.list(&clause.1.list, input, depth);
            }
            ast::CompoundCommand::Coprocess(coprocess) => self.command(&coprocess.body, input, depth),
        }
    }

    fn test(&mut self, test: &ast::ExtendedTestExpr, depth: usize) {
        match test {
            ast::ExtendedTestExpr::And(left, right) | ast::ExtendedTestExpr::Or(left, right) => {
                self.test(left, depth);
                self.test(right, depth);
            }
            ast::ExtendedTestExpr::Not(inner) | ast::ExtendedTestExpr::Parenthesized(inner) => self.test(inner, depth),
            ast::ExtendedTestExpr::UnaryTest(_, word) => self.expansions(&word.value, depth),
            ast::ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.expansions(&left.value, depth);
                self.expansions(&right.value, depth);
            }
        }
    }

    fn simple(&mut self, simple: &ast::SimpleCommand, input: &Input, depth: usize) {
        let mut command = Invocation { input: input.clone(), ..Invocation::default() };
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            self.item(item, &mut command, true, depth);
        }
        if let Some(name) = &simple.word_or_name {
            let words = self.fold(&name.value, depth);
            // A pattern in the place of the command runs whatever file matches first.
            match word::is_pattern(&name.value) && name.value.trim() != "[" {
                true => command.words.push(Word::Unknown(name.value.clone())),
                false => command.words.extend(words),
            }
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut command, false, depth);
        }
        if command.words.is_empty() {
            self.assign(&command.sets);
        }
        self.invocation(command, depth);
    }

    fn item(&mut self, item: &ast::CommandPrefixOrSuffixItem, command: &mut Invocation, prefix: bool, depth: usize) {
        match item {
            ast::CommandPrefixOrSuffixItem::Word(word) => command.words.extend(self.fold(&word.value, depth)),
            ast::CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                if let ast::AssignmentName::ArrayElementName(_, index) = &assignment.name {
                    self.expansions(index, depth);
                }
                let value = match &assignment.value {
                    ast::AssignmentValue::Scalar(value) => self.fold_value(&value.value, depth),
                    ast::AssignmentValue::Array(elements) => {
                        for (index, value) in elements {
                            self.expansions(index.as_ref().map_or("", |index| &index.value), depth);
                            self.expansions(&value.value, depth);
                        }
                        Word::Unknown(word.value.clone())
                    }
                };
                let value = if assignment.append { Word::Unknown(word.value.clone()) } else { value };
                let name = match &assignment.name {
                    ast::AssignmentName::VariableName(name) | ast::AssignmentName::ArrayElementName(name, _) => name,
                };
                match prefix {
                    true => command.sets.push((name.clone(), value)),
                    false => command.words.push(match value {
                        Word::Literal(value) => Word::Literal(format!("{name}={value}")),
                        Word::Unknown(_) => Word::Unknown(word.value.clone()),
                    }),
                }
            }
            ast::CommandPrefixOrSuffixItem::ProcessSubstitution(kind, shell) => {
                let first = self.read.invocations.len();
                self.list(&shell.list, &Input::Unknown, depth + 1);
                let name = self.read.invocations[first..].iter().rev().find_map(Invocation::name).unwrap_or("?");
                let sign = if matches!(kind, ast::ProcessSubstitutionKind::Read) { '<' } else { '>' };
                command.words.push(Word::Unknown(format!("{sign}({name} …)")));
            }
            ast::CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect, command, depth),
        }
    }

    fn redirect(&mut self, redirect: &ast::IoRedirect, command: &mut Invocation, depth: usize) {
        match redirect {
            ast::IoRedirect::File(fd, kind, target) => match target {
                ast::IoFileRedirectTarget::Filename(word) | ast::IoFileRedirectTarget::Duplicate(word) => {
                    let words = self.fold(&word.value, depth);
                    let duplicate = matches!(target, ast::IoFileRedirectTarget::Duplicate(_))
                        && word.value.chars().all(|c| c.is_ascii_digit() || c == '-');
                    let reads = matches!(kind, ast::IoFileRedirectKind::Read | ast::IoFileRedirectKind::DuplicateInput);
                    match reads {
                        _ if duplicate => {}
                        true => {
                            command.reads.extend(words);
                            if fd.unwrap_or(0) == 0 {
                                command.input = Input::Unknown;
                            }
                        }
                        false => command.writes.extend(words),
                    }
                }
                ast::IoFileRedirectTarget::Fd(_) => {}
                ast::IoFileRedirectTarget::ProcessSubstitution(_, shell) => {
                    let first = self.read.invocations.len();
                    self.list(&shell.list, &Input::Unknown, depth + 1);
                    command.input = self.output_since(first);
                }
            },
            ast::IoRedirect::HereDocument(_, document) => {
                command.input = match document.requires_expansion {
                    true => {
                        let (word, scripts) = word::fold_document(&document.doc.value, self.known());
                        self.scripts(&scripts, depth);
                        text_of(word)
                    }
                    false => Input::Text(document.doc.value.clone()),
                };
            }
            ast::IoRedirect::HereString(_, word) => command.input = text_of(self.fold_value(&word.value, depth)),
            ast::IoRedirect::OutputAndError(word, _) => command.writes.extend(self.fold(&word.value, depth)),
        }
    }

    /// Redirections of a group hold for everything in it; what they write stands as an invocation without words.
    fn redirects_of_group(&mut self, redirects: Option<&ast::RedirectList>, input: &Input, depth: usize) -> Input {
        let mut group = Invocation { input: input.clone(), ..Invocation::default() };
        for redirect in redirects.iter().flat_map(|list| &list.0) {
            self.redirect(redirect, &mut group, depth);
        }
        let input = group.input.clone();
        if !group.writes.is_empty() || !group.reads.is_empty() {
            self.add(group);
        }
        input
    }

    /// The words a word becomes; scripts in it are read on the way.
    fn fold(&mut self, raw: &str, depth: usize) -> Vec<Word> {
        let folded = word::fold(raw, self.known());
        if folded.too_many {
            self.unknown("a word holds too many braces to be read");
        }
        self.scripts(&folded.scripts, depth);
        folded.words
    }

    /// A word that is not split: the value of an assignment, a here-string.
    fn fold_value(&mut self, raw: &str, depth: usize) -> Word {
        let mut words = self.fold(raw, depth);
        match words.len() {
            0 => Word::Literal(String::new()),
            1 => words.swap_remove(0),
            _ => {
                let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
                texts.map_or_else(|| Word::Unknown(raw.to_owned()), |texts| Word::Literal(texts.join(" ")))
            }
        }
    }

    fn known(&self) -> Known<'_> {
        Known { variables: &self.variables, parameters: &self.parameters }
    }

    /// Reads only the scripts in a word.
    pub(super) fn expansions(&mut self, raw: &str, depth: usize) {
        self.fold(raw, depth);
    }

    fn scripts(&mut self, scripts: &[String], depth: usize) {
        for script in scripts {
            self.script(script, &Input::Inherited, depth + 1);
        }
    }

    /// A variable is known when it is set once and to a literal.
    fn assign(&mut self, sets: &[(String, Word)]) {
        for (name, value) in sets {
            let before = self.variables.remove(name);
            match value.literal() {
                Some(value) if before.is_none() || before.as_deref() == Some(value) => {
                    self.variables.insert(name.clone(), value.to_owned());
                }
                // Set again to something else: which value holds depends on the way taken.
                _ => {}
            }
        }
    }

    pub(super) fn add(&mut self, invocation: Invocation) {
        match self.read.invocations.len() < guard::MOST_INVOCATIONS {
            true => self.read.invocations.push(invocation),
            false => self.unknown("the command starts too many programs to be read"),
        }
    }
}

/// `set git push` and the like; `set -e` does not.
fn changes_parameters(command: &Invocation) -> bool {
    let option = |word: &Word| match word.literal() {
        Some("pipefail") => true,
        Some(text) => text.len() > 1 && text.starts_with(['-', '+']) && text != "--",
        None => false,
    };
    match command.name() {
        Some("set") => !command.arguments().iter().all(option),
        Some("shift" | "source" | ".") => true,
        _ => false,
    }
}

fn text_of(word: Word) -> Input {
    match word {
        Word::Literal(text) => Input::Text(text),
        Word::Unknown(_) => Input::Unknown,
    }
}

/// What `echo` or `printf` prints, when its words are known.
fn printed(command: &Invocation) -> Input {
    let words: Option<Vec<&str>> = command.arguments().iter().map(Word::literal).collect();
    match words {
        Some(words) if command.writes.is_empty() => {
            let text = words.iter().filter(|word| !matches!(**word, "-e" | "-n" | "-E" | "-en" | "-ne")).copied();
            Input::Text(text.collect::<Vec<_>>().join(" ").replace("\\n", "\n"))
        }
        _ => Input::Unknown,
    }
}
