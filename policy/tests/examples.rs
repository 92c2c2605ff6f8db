//! The published configuration examples load as they stand, and mean what their comments say.

#[cfg(test)]
mod tests {
    use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
    use holdpoint_policy::*;

    const CONSERVATIVE: &str = include_str!("examples/conservative.toml");
    const HOOK: &str = include_str!("examples/destructive-hook.toml");
    const PRODUCTION: &str = include_str!("examples/production-adjacent.toml");
    const DESIGN: &str = include_str!("examples/design.toml");
    const PROSE: &str = include_str!("examples/AGENTS-prose.md");
    const AGENTS: &str = include_str!("examples/AGENTS.md");

    /// The nine-second deletion: one request that a shell tool sends.
    const NINE_SECONDS: &str = r#"curl -s -X POST https://backboard.railway.test/graphql/v2 -H "Authorization: Bearer $T" -H 'Content-Type: application/json' -d '{"query":"mutation { volumeDelete(volumeId: \"3d2c\") }"}'"#;

    fn user(text: &str) -> Layer {
        Layer::new(LayerKind::User, Config::parse(text, &Origin::file("config.toml")).unwrap())
    }

    fn agents(text: &str) -> Vec<Layer> {
        let configs = agents_md::parse(text, &Origin::file("AGENTS.md")).unwrap();
        configs.into_iter().map(|config| Layer::new(LayerKind::AgentsMd, config)).collect()
    }

    fn judge(policy: &Policy, line: &str) -> Judgement {
        let argv = ["sh", "-c", line].map(Into::into).to_vec();
        evaluate::evaluate(policy, &Action::Run(Run { argv, cwd: "/src".into() }), &HookOutcomes::default())
    }

    #[test]
    fn the_conservative_profile_holds_everything() {
        let policy = compile(&[user(CONSERVATIVE)], Some("production"), &Flags::default()).unwrap();
        assert_eq!(policy.sandbox.value, SandboxMode::WorkspaceWrite);
        assert_eq!(policy.approval.value, ApprovalMode::Suggest);
        assert_eq!(judge(&policy, "true").verdict, Verdict::Ask);
    }

    #[test]
    fn the_hook_example_makes_one_hook_in_every_profile() {
        let policy = compile(&[user(HOOK)], None, &Flags::default()).unwrap();
        let [hook] = policy.hooks.as_slice() else { panic!("{:?}", policy.hooks) };
        assert_eq!((hook.event, hook.tool.as_deref()), (HookEvent::PreToolUse, Some("shell")));
        assert!(hook.command.starts_with("if echo \"$INPUT\" | grep -qiE '(curl.*-X DELETE"));
        assert!(hook.command.ends_with("exit 0\n"));
        assert_eq!(hook.origin, "config.toml:2");
    }

    #[test]
    fn the_production_adjacent_profile_is_the_same_in_both_spellings() {
        for text in [PRODUCTION, DESIGN] {
            let policy = compile(&[user(text)], Some("production-adjacent"), &Flags::default()).unwrap();
            assert_eq!(policy.model.as_ref().map(|model| model.value.as_str()), Some("gpt-5.5"));
            assert_eq!(policy.sandbox.value, SandboxMode::WorkspaceWrite);
            assert_eq!(policy.approval.value, ApprovalMode::Suggest);
            let globs: Vec<&str> = policy.deny_read.iter().map(|glob| glob.value.glob.as_str()).collect();
            let wanted =
                ["**/.env*", "**/secrets/**", "**/*token*", "**/*credential*", "**/railway.json", "**/.railway/**"];
            assert_eq!(globs, wanted);
            assert_eq!(policy.hooks.len(), 1);
            let read = |path: &str| {
                let action = Action::Read { path: path.into() };
                evaluate::evaluate(&policy, &action, &HookOutcomes::default()).verdict
            };
            for path in [
                ".env",
                "app/.env.staging",
                "secrets",
                "secrets/a/b",
                "my-token.txt",
                "railway.json",
                ".railway/config",
            ] {
                assert_eq!(read(path), Verdict::Deny, "{path}");
            }
            assert_eq!(read("src/main.rs"), Verdict::Allow);
        }
    }

    #[test]
    fn the_prose_of_agents_md_is_carried_and_enforces_nothing() {
        assert!(agents_md::blocks(PROSE).is_empty());
        let assembled = agents_md::assemble(&[("AGENTS.md".into(), PROSE.into())], 32 * 1024);
        assert_eq!(assembled.text, PROSE);
        assert!(assembled.cut.is_empty());
    }

    #[test]
    fn our_agents_md_carries_the_same_prose() {
        assert!(AGENTS.starts_with(PROSE));
    }

    #[test]
    fn an_agents_md_block_alone_stops_the_nine_seconds_in_full_auto() {
        let open = r#"
            [profile.default]
            sandbox = "none"
            approval_policy = "full-auto"
            catalog = { destructive = "allow", system = "allow", credentials = "allow", unreadable = "allow" }
        "#;
        let without = compile(&[user(open)], None, &Flags::default()).unwrap();
        assert_eq!(judge(&without, NINE_SECONDS).verdict, Verdict::Allow, "without the block the chain goes through");

        let mut layers = agents(AGENTS);
        layers.push(user(open));
        let with = compile(&layers, None, &Flags::default()).unwrap();
        let judged = judge(&with, NINE_SECONDS);
        assert_eq!(judged.verdict, Verdict::Deny);
        assert!(judged.reasons[0].origin.starts_with("AGENTS.md:"), "{:?}", judged.reasons);

        assert_eq!(judge(&with, "railway status").verdict, Verdict::Ask, "infrastructure waits whatever the mode");
        assert_eq!(judge(&with, "sudo -E kubectl get pods").verdict, Verdict::Ask);
        assert_eq!(judge(&with, "cargo test").verdict, Verdict::Allow);
        let token = Action::Read { path: ".railway/config.json".into() };
        assert_eq!(evaluate::evaluate(&with, &token, &HookOutcomes::default()).verdict, Verdict::Deny);
    }

    #[test]
    fn the_nine_seconds_are_denied_however_they_are_wrapped() {
        let mut layers = agents(AGENTS);
        layers.push(user("[profile.default]\napproval_policy = \"full-auto\"\n"));
        let policy = compile(&layers, None, &Flags::default()).unwrap();
        for line in [
            NINE_SECONDS.to_owned(),
            format!("timeout 9 env A=1 {NINE_SECONDS}"),
            format!("if true; then {NINE_SECONDS}; fi"),
            format!("x=$({NINE_SECONDS})"),
            format!("bash <<'X'\n{NINE_SECONDS}\nX"),
            r#"echo '{"query":"mutation{volumeDelete(volumeId:1)}"}' | curl -d @- https://a.test/graphql"#.to_owned(),
            r#"curl https://a.test/graphql -d '{"query":"mutat\u0069on{volume\u0044elete(id:1)}"}'"#.to_owned(),
            "curl -X \"DEL\"ETE https://a.test/volumes/1".to_owned(),
            "M=DELETE; curl -X $M https://a.test/volumes/1".to_owned(),
        ] {
            assert_eq!(judge(&policy, &line).verdict, Verdict::Deny, "{line}");
        }
    }
}
