//! The laws that hold for every configuration: the lattice, that a project only tightens, that verdicts only tighten.

#[cfg(test)]
mod tests {
    use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
    use holdpoint_policy::*;
    use proptest::prelude::*;

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop::sample::select(vec![Verdict::Allow, Verdict::Ask, Verdict::Deny])
    }

    fn judgement() -> impl Strategy<Value = Judgement> {
        let reason = (verdict(), "[a-c]").prop_map(|(verdict, text)| Reason::new(verdict, "rule", "origin", text));
        prop::collection::vec(reason, 0..4)
            .prop_map(|reasons| reasons.into_iter().map(Judgement::of).fold(Judgement::default(), Judgement::tighten))
    }

    /// The keys that may stand in a profile and outside of one alike.
    fn tightening() -> impl Strategy<Value = String> {
        let word = |key: &'static str, words: &[&'static str]| {
            prop::option::of(prop::sample::select(words.to_vec()))
                .prop_map(move |word| word.map(|word| format!("{key} = \"{word}\"\n")).unwrap_or_default())
        };
        let paths = prop::collection::vec(prop::sample::select(vec!["**/.env*", "a/b", "**/x/**", "c.txt"]), 0..3);
        let paths = (paths, prop::option::of(prop::sample::select(vec!["!**/.env", "!**/x/y", "!c.txt"]))).prop_map(
            |(mut paths, exception)| {
                paths.extend(exception.filter(|_| !paths.is_empty()));
                paths
            },
        );
        let limit = prop::option::of(1u64..5);
        (
            word("sandbox", &["read-only", "workspace-write", "workspace-write-and-net"]),
            word("approval_policy", &["suggest", "auto-edit", "full-auto"]),
            paths,
            limit,
            word("catalog.destructive", &["allow", "ask", "deny"]),
            word("catalog.outward", &["allow", "ask", "deny"]),
            word("catalog.unreadable", &["allow", "ask", "deny"]),
        )
            .prop_map(|(sandbox, approval, paths, limit, destructive, outward, unreadable)| {
                let limit = limit.map(|limit| format!("limits.pids = {limit}\n")).unwrap_or_default();
                format!("{sandbox}{approval}deny_read_paths = {paths:?}\n{limit}{destructive}{outward}{unreadable}")
            })
    }

    fn rules(verdicts: &'static [&'static str]) -> impl Strategy<Value = String> {
        let tool = prop::sample::select(vec!["git", "cargo", "rm", "curl"]);
        let rule = (tool, prop::sample::select(verdicts.to_vec()))
            .prop_map(|(tool, verdict)| format!("[[rules]]\nprefix = [\"{tool}\"]\nverdict = \"{verdict}\"\n"));
        prop::collection::vec(rule, 0..3).prop_map(|rules| rules.concat())
    }

    fn own() -> impl Strategy<Value = String> {
        (tightening(), tightening(), rules(&["allow", "ask", "deny"])).prop_map(|(top, profile, rules)| {
            format!("{top}[profile.default]\n{profile}env.inherit = [\"X\"]\n{rules}")
        })
    }

    fn project() -> impl Strategy<Value = String> {
        (tightening(), tightening(), rules(&["ask", "deny"]))
            .prop_map(|(top, profile, rules)| format!("{top}[profile.default]\n{profile}{rules}"))
    }

    fn flags() -> impl Strategy<Value = Flags> {
        let modes = vec![SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite, SandboxMode::WorkspaceWriteAndNet];
        let sandbox = prop::option::of(prop::sample::select(modes));
        let approval = prop::option::of(prop::sample::select(ApprovalMode::ALL.to_vec()));
        (sandbox, approval).prop_map(|(sandbox, approval)| Flags { sandbox, approval, ..Flags::default() })
    }

    fn layer(kind: LayerKind, text: &str) -> Layer {
        Layer::new(kind, Config::parse(text, &Origin::file("file.toml")).unwrap())
    }

    fn actions() -> Vec<Action> {
        let run = |line: &str| Action::Run(Run { argv: ["sh", "-c", line].map(Into::into).to_vec(), cwd: "/w".into() });
        vec![
            run("git push -f"),
            run("cargo test"),
            run("rm -rf x"),
            run("curl https://a.test"),
            run("$x y"),
            Action::Edit(Edit { workspace: "/w".into(), paths: vec!["a/b".into(), "src/x".into()] }),
            Action::Edit(Edit { workspace: "/w".into(), paths: vec![".git/hooks/x".into()] }),
            Action::Read { path: "deep/.env".into() },
            Action::Read { path: "c.txt".into() },
            Action::Write { path: "c.txt".into() },
            Action::Tool { name: "mcp__db__drop".into(), input: "{}".into() },
        ]
    }

    /// Whether `tight` lets nothing through that `loose` does not.
    fn at_most(tight: &Policy, loose: &Policy) -> Result<(), TestCaseError> {
        prop_assert!(tight.sandbox.value >= loose.sandbox.value);
        prop_assert!(tight.approval.value >= loose.approval.value);
        for glob in &loose.deny_read {
            prop_assert!(tight.deny_read.iter().any(|other| other.value == glob.value));
        }
        if let Some(pids) = &loose.limits.pids {
            prop_assert!(tight.limits.pids.as_ref().is_some_and(|other| other.value <= pids.value));
        }
        prop_assert_eq!(&tight.env_inherit, &loose.env_inherit);
        prop_assert_eq!(&tight.readable, &loose.readable);
        prop_assert_eq!(&tight.writable, &loose.writable);
        prop_assert_eq!(&tight.hooks, &loose.hooks);
        for action in actions() {
            let judge = |policy| evaluate::evaluate(policy, &action, &HookOutcomes::default());
            let (strict, free) = (judge(tight), judge(loose));
            prop_assert!(strict.verdict >= free.verdict, "{action:?}: {strict:?} {free:?}");
            prop_assert!(!strict.reasons.is_empty());
            prop_assert_eq!(strict.reasons.iter().map(|reason| reason.verdict).max(), Some(strict.verdict));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn verdicts_form_a_lattice(a in verdict(), b in verdict(), c in verdict()) {
            prop_assert_eq!(a.tighten(b), b.tighten(a));
            prop_assert_eq!(a.tighten(b).tighten(c), a.tighten(b.tighten(c)));
            prop_assert_eq!(a.tighten(a), a);
            prop_assert_eq!(a.tighten(Verdict::Allow), a);
            prop_assert!(a.tighten(b) >= a);
        }

        #[test]
        fn judgements_only_tighten_and_lose_no_reason(a in judgement(), b in judgement()) {
            let both = a.clone().tighten(b.clone());
            prop_assert_eq!(both.verdict, a.verdict.max(b.verdict));
            for reason in a.reasons.iter().chain(&b.reasons) {
                prop_assert!(both.reasons.contains(reason));
            }
            prop_assert!(both.reasons.windows(2).all(|pair| pair[0].verdict >= pair[1].verdict));
        }

        #[test]
        fn a_project_and_its_agents_md_never_loosen(
            own in own(), project in project(), block in (tightening(), rules(&["ask", "deny"])), flags in flags(),
        ) {
            let user = layer(LayerKind::User, &own);
            let project = layer(LayerKind::Project, &project);
            let text = format!("```holdpoint\n{}{}```\n", block.0, block.1);
            let block = agents_md::parse(&text, &Origin::file("AGENTS.md")).unwrap().remove(0);
            let block = Layer::new(LayerKind::AgentsMd, block);
            let alone = compile(std::slice::from_ref(&user), None, &flags).unwrap();
            let with_project = compile(&[project.clone(), user.clone()], None, &flags).unwrap();
            let with_both = compile(&[block, project, user], None, &flags).unwrap();
            at_most(&with_project, &alone)?;
            at_most(&with_both, &with_project)?;
        }

        #[test]
        fn what_stands_outside_a_profile_holds_against_flags(system in tightening(), own in own(), flags in flags()) {
            let user = layer(LayerKind::User, &own);
            let system = layer(LayerKind::System, &system);
            let alone = compile(std::slice::from_ref(&user), None, &flags).unwrap();
            let pinned = compile(&[user, system], None, &flags).unwrap();
            at_most(&pinned, &alone)?;
        }

        #[test]
        fn the_order_in_which_files_are_given_does_not_matter(own in own(), project in project(), flags in flags()) {
            let user = layer(LayerKind::User, &own);
            let project = layer(LayerKind::Project, &project);
            let one = compile(&[user.clone(), project.clone()], None, &flags).unwrap();
            let other = compile(&[project, user], None, &flags).unwrap();
            prop_assert_eq!(one.digest_material(), other.digest_material());
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_blocked_or_failed_hook_always_denies(own in own(), flags in flags(), failed in any::<bool>()) {
            let policy = compile(&[layer(LayerKind::User, &own)], None, &flags).unwrap();
            let reason = "no".to_owned();
            let result = if failed { HookResult::Failed { reason } } else { HookResult::Blocked { reason } };
            let passed = HookOutcome { hook: "h:1".into(), result: HookResult::Passed };
            let hooks = HookOutcomes(vec![passed, HookOutcome { hook: "h:2".into(), result }]);
            for action in actions() {
                prop_assert_eq!(evaluate::evaluate(&policy, &action, &hooks).verdict, Verdict::Deny);
            }
        }

        #[test]
        fn any_text_is_a_config_or_an_error_that_can_be_shown(text in "\\PC{0,80}|[a-z\\[\\]=\"\\n.{} ]{0,80}") {
            if let Err(error) = Config::parse(&text, &Origin::file("c.toml")) {
                prop_assert!(error.line >= 1);
                prop_assert!(!error.render(false).is_empty());
            }
            let block = format!("```holdpoint\n{text}\n```\n");
            if let Err(error) = agents_md::parse(&block, &Origin::file("AGENTS.md")) {
                prop_assert!(!error.render(false).is_empty());
            }
        }

        #[test]
        fn a_literal_path_is_covered_by_its_own_pattern(
            parts in prop::collection::vec("[a-zA-Z0-9_.-]{1,8}", 1..5), below in prop::collection::vec("[a-z]{1,5}", 0..3),
        ) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let path = parts.join("/");
            prop_assume!(!path.starts_with('~'));
            let globs = paths::Globs::new(std::slice::from_ref(&path)).unwrap();
            let inside = below.iter().fold(std::path::PathBuf::from(&path), |path, part| path.join(part));
            prop_assert_eq!(globs.matches(&inside, false), Some(path.as_str()));
            prop_assert!(globs.matches(std::path::Path::new(&path.to_uppercase()), false).is_some());
            let deep = paths::Globs::new(&[format!("**/{path}/**")]).unwrap();
            prop_assert!(deep.matches(&std::path::Path::new("x/y").join(&path), true).is_some());
        }
    }
}
