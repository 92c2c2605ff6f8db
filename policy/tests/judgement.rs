//! What each kind of action gets, by mode and by rule.

#[cfg(test)]
mod tests {
    use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
    use holdpoint_policy::*;

    fn policy(text: &str) -> Policy {
        let config =
            Config::parse(text, &Origin::file("c.toml")).unwrap_or_else(|error| panic!("{}", error.render(false)));
        compile(&[Layer::new(LayerKind::User, config)], None, &Flags::default()).unwrap()
    }

    fn judge(policy: &Policy, action: Action) -> Judgement {
        evaluate::evaluate(policy, &action, &HookOutcomes::default())
    }

    fn run(policy: &Policy, line: &str) -> Judgement {
        let argv = line.split(' ').map(Into::into).collect();
        judge(policy, Action::Run(Run { argv, cwd: "/w".into() }))
    }

    fn script(policy: &Policy, line: &str) -> Judgement {
        judge(policy, Action::Run(Run { argv: ["sh", "-c", line].map(Into::into).to_vec(), cwd: "/w".into() }))
    }

    fn edit(policy: &Policy, path: &str) -> Verdict {
        judge(policy, Action::Edit(Edit { workspace: "/w".into(), paths: vec!["README.md".into(), path.into()] }))
            .verdict
    }

    fn write(policy: &Policy, path: &str) -> Verdict {
        judge(policy, Action::Write { path: path.into() }).verdict
    }

    fn read(policy: &Policy, path: &str) -> Verdict {
        judge(policy, Action::Read { path: path.into() }).verdict
    }

    #[test]
    fn the_table_of_approval_modes() {
        for (mode, edits, commands) in [
            ("suggest", Verdict::Ask, Verdict::Ask),
            ("auto-edit", Verdict::Allow, Verdict::Ask),
            ("full-auto", Verdict::Allow, Verdict::Allow),
        ] {
            let policy = policy(&format!("[profile.default]\napproval_policy = \"{mode}\"\n"));
            assert_eq!(edit(&policy, "src/main.rs"), edits, "{mode}");
            assert_eq!(run(&policy, "cargo test").verdict, commands, "{mode}");
        }
    }

    #[test]
    fn an_edit_never_leaves_the_workspace_nor_touches_what_is_protected() {
        let open = policy(
            "[profile.default]\napproval_policy = \"full-auto\"\nprotect_paths = [\"infra\"]\ndeny_read_paths = [\"**/.env*\"]\nwritable_paths = [\"/srv/out\"]\n",
        );
        for path in [
            "../x",
            "/etc/passwd",
            "/srv/out/x",
            ".git/hooks/pre-commit",
            "sub/.git/config",
            "AGENTS.md",
            ".holdpoint/x",
            "Infra/main.tf",
            ".env",
            "a/../.env",
        ] {
            assert_eq!(edit(&open, path), Verdict::Deny, "{path}");
        }
        assert_eq!(edit(&open, "src/infra.rs"), Verdict::Allow);
        assert_eq!(write(&open, "/srv/out/x"), Verdict::Allow, "a tool may write where the profile opens it");
        assert_eq!(write(&open, "/srv/other"), Verdict::Deny);
        let closed = policy("[profile.default]\napproval_policy = \"full-auto\"\nsandbox = \"read-only\"\n");
        assert_eq!(edit(&closed, "src/main.rs"), Verdict::Deny);
    }

    #[test]
    fn reads_go_ahead_where_the_sandbox_shows_the_file() {
        let policy = policy("[profile.default]\ndeny_read_paths = [\"**/.env*\"]\nreadable_paths = [\"~/.cargo\"]\n");
        for path in ["src/main.rs", "/usr/include/stdio.h", "/home/a/.cargo/registry/x"] {
            assert_eq!(read(&policy, path), Verdict::Allow, "{path}");
        }
        for path in ["/home/a/.aws/credentials", "../other/x", "/etc/shadow"] {
            assert_eq!(read(&policy, path), Verdict::Ask, "{path}");
        }
        assert_eq!(read(&policy, "/home/a/x/.env"), Verdict::Deny);
    }

    #[test]
    fn an_exception_takes_back_from_its_own_list_and_from_nothing_else() {
        let layers = |files: &[(LayerKind, &str)], flags: &[&str]| {
            let layer = |(kind, text): &(LayerKind, &str)| {
                Layer::new(*kind, Config::parse(text, &Origin::file("c.toml")).unwrap())
            };
            let flags = Flags { deny_read: flags.iter().map(|&flag| flag.to_owned()).collect(), ..Flags::default() };
            compile(&files.iter().map(layer).collect::<Vec<_>>(), None, &flags).unwrap()
        };
        const PATTERN: &str = "deny_read_paths = [\"**/.env*\"]\n";
        const EXCEPT: &str = "deny_read_paths = [\"**/.env*\", \"!**/.env.example\"]\n";
        let (system, user, project) = (LayerKind::System, LayerKind::User, LayerKind::Project);
        for (files, flags, expected) in [
            (&[(user, EXCEPT)][..], &[][..], Verdict::Allow),
            (&[(project, EXCEPT)], &[], Verdict::Allow),
            (&[], &[".env*", "!.env.example"], Verdict::Allow),
            (&[(user, EXCEPT), (project, EXCEPT)], &[], Verdict::Allow),
            (&[(user, PATTERN), (project, EXCEPT)], &[], Verdict::Deny),
            (&[(system, PATTERN), (user, EXCEPT)], &[], Verdict::Deny),
            (&[(user, EXCEPT), (project, PATTERN)], &[], Verdict::Deny),
            (&[(user, EXCEPT)], &[".env*"], Verdict::Deny),
            (&[(user, PATTERN)], &["x", "!.env.example"], Verdict::Deny),
        ] {
            let policy = layers(files, flags);
            assert_eq!(read(&policy, "app/.env.example"), expected, "{:?}", policy.deny_read);
            assert_eq!(read(&policy, "app/.env"), Verdict::Deny);
        }
        assert_ne!(layers(&[(user, EXCEPT)], &[]).digest_material(), layers(&[(user, PATTERN)], &[]).digest_material());
    }

    #[test]
    fn what_is_not_certain_to_be_excepted_is_denied() {
        let denied = "[\"*.key\", \"!pub/a.key\", \"!~/b.key\", \"!d/\", \"/srv/**\", \"!/srv/c.key\"]";
        let policy = policy(&format!("[profile.default]\ndeny_read_paths = {denied}\n"));
        for (path, expected) in [
            ("pub/a.key", Verdict::Allow),
            ("x/pub/a.key", Verdict::Deny),
            ("/home/a/x/pub/a.key", Verdict::Deny),
            ("/home/a/b.key", Verdict::Deny),
            ("d/x.key", Verdict::Allow),
            ("/srv/c.key", Verdict::Ask),
            ("/srv/d.key", Verdict::Deny),
        ] {
            assert_eq!(read(&policy, path), expected, "{path}");
        }
    }

    #[test]
    fn an_allow_rule_takes_back_only_the_word_of_the_approval_mode() {
        let policy = policy(
            "[[rules]]\nprefix = [\"git\", [\"status\", \"reset\"]]\nverdict = \"allow\"\n[[rules]]\nprefix = [\"git\", \"status\", \"-x\"]\nverdict = \"deny\"\nreason = \"not so\"\n",
        );
        assert_eq!(run(&policy, "git status").verdict, Verdict::Allow);
        assert_eq!(script(&policy, "git status --short && git status 2>/dev/null").verdict, Verdict::Allow);
        for line in [
            "git status; cargo test",
            "git status $(cargo test)",
            "git status > out",
            "A=1 git status",
            "sudo git status",
            "./git status",
            "git status | sh",
            "git() { rm; }; git status",
            "git diff",
            "git reset --hard",
        ] {
            assert_eq!(script(&policy, line).verdict, Verdict::Ask, "{line}");
        }
        let denied = run(&policy, "git status -x");
        assert_eq!((denied.verdict, denied.reasons[0].text.as_str()), (Verdict::Deny, "not so"));
    }

    #[test]
    fn the_catalog_counts_in_full_auto_where_somebody_wrote_its_verdicts() {
        let base = "[profile.default]\napproval_policy = \"full-auto\"\n";
        let auto = policy(base);
        for line in ["rm -rf /", "git push --force", "cat .env"] {
            assert_eq!(run(&auto, line).verdict, Verdict::Allow, "{line}: full-auto goes ahead");
        }
        assert_eq!(script(&auto, "$x y").verdict, Verdict::Allow);
        let asking = policy(&format!("{base}catalog = {{ destructive = \"ask\", unreadable = \"ask\" }}\n"));
        assert_eq!(run(&asking, "rm -rf /").verdict, Verdict::Ask);
        assert_eq!(script(&asking, "$x y").verdict, Verdict::Ask);
        let strict = policy(&format!("{base}catalog = {{ destructive = \"deny\", outward = \"ask\" }}\n"));
        let judged = run(&strict, "git push --force");
        assert_eq!(judged.verdict, Verdict::Deny);
        assert!(judged.reasons[0].rule.starts_with("catalog.destructive = \"deny\""), "{:?}", judged.reasons);
        assert_eq!(judged.reasons[0].origin, "c.toml:3");
        assert_eq!(run(&strict, "git push").verdict, Verdict::Ask);
    }

    #[test]
    fn the_catalog_holds_what_an_allow_rule_lets_go_ahead_in_the_other_modes() {
        let rules = policy(
            "[profile.default]\napproval_policy = \"auto-edit\"\n[[rules]]\nprefix = [\"git\"]\nverdict = \"allow\"\n",
        );
        assert_eq!(run(&rules, "git status").verdict, Verdict::Allow);
        assert_eq!(run(&rules, "git push --force").verdict, Verdict::Ask);
    }

    #[test]
    fn a_denied_program_is_denied_by_name_and_by_path() {
        let policy = policy(
            "[profile.default]\napproval_policy = \"full-auto\"\nexec_deny_paths = [\"/usr/bin/curl\", \"/opt/bad\"]\n",
        );
        for line in ["curl -V", "/usr/bin/curl -V", "sh -c curl", "/opt/bad/tool", "nice curl"] {
            assert_eq!(run(&policy, line).verdict, Verdict::Deny, "{line}");
        }
        for line in ["/opt/good/curl", "echo curl", "bad"] {
            assert_eq!(run(&policy, line).verdict, Verdict::Allow, "{line}");
        }
    }

    #[test]
    fn a_tool_is_held_as_a_command_is_and_its_input_is_read() {
        let auto = policy("[profile.default]\napproval_policy = \"full-auto\"\ncatalog = { destructive = \"ask\" }\n");
        let tool =
            |name: &str, input: &str| judge(&auto, Action::Tool { name: name.into(), input: input.into() }).verdict;
        assert_eq!(tool("mcp__docs__search", "{\"q\":\"x\"}"), Verdict::Allow);
        assert_eq!(tool("mcp__railway__volumeDelete", "{}"), Verdict::Ask);
        assert_eq!(tool("mcp__db__query", "{\"args\":[\"DROP TABLE users\"]}"), Verdict::Ask);
        assert_eq!(tool("mcp__api__call", "{\"body\":\"mutation { volumeDelete(id: 1) }\"}"), Verdict::Ask);
        let held = judge(&policy(""), Action::Tool { name: "mcp__docs__search".into(), input: "{}".into() });
        assert_eq!(held.verdict, Verdict::Ask);
    }

    #[test]
    fn the_explanation_names_every_origin() {
        let policy = policy(
            "[profile.default]\nsandbox = \"read-only\"\ndeny_read_paths = [\"*.pem\"]\nlimits.memory = \"1GiB\"\n",
        );
        let text = explain::text(&policy, "/src\u{1b}[2J".as_ref());
        for wanted in [
            "sandbox",
            "read-only",
            "c.toml:2",
            "**/*.pem",
            "c.toml:3",
            "limits.memory",
            "1GiB",
            "c.toml:4",
            "built-in",
            "cannot read **/*.pem",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        let json = serde_json::to_value(explain::explain(&policy, "/src".as_ref())).unwrap();
        assert_eq!(json["policy"]["sandbox"]["value"], "read-only");
        assert_eq!(json["policy"]["sandbox"]["origin"], "c.toml:2");
    }

    #[test]
    fn the_digest_covers_effects_and_not_comments() {
        let text = "[profile.default]\nsandbox = \"read-only\"\nenv.set = { origin = \"a\", value = \"b\" }\n";
        let digest = |text: &str| policy(text).digest_material();
        assert_eq!(digest(text), digest(&format!("# a comment\n{text}")));
        assert_ne!(digest(text), digest(&text.replace("\"a\"", "\"c\"")));
        assert_ne!(digest(text), digest(&text.replace("read-only", "workspace-write")));
        assert_ne!(digest(text), digest(&format!("{text}[[rules]]\nprefix = [\"x\"]\nverdict = \"ask\"\n")));
    }

    #[cfg(feature = "schema")]
    #[test]
    fn the_schema_knows_every_key() {
        let schema = config::schema();
        for key in ["profile", "deny_read_paths", "hooks", "match", "full-auto", "PreToolUse", "catalog", "wall_time"] {
            assert!(schema.contains(&format!("\"{key}\"")), "{key}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&schema).is_ok());
    }
}
