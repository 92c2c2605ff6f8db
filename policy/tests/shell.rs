//! Reading command lines: what is found, what is unknown, and that nothing makes the reader fail or hang.

#[cfg(test)]
mod tests {
    use holdpoint_policy::shell::{Extraction, extract, read_script};
    use proptest::prelude::*;

    fn names(script: &str) -> Vec<String> {
        read_script(script).invocations.iter().filter_map(|one| one.name().map(str::to_owned)).collect()
    }

    /// Every way here of starting `rm` in bash must be seen as `rm`, or be unknown.
    #[test]
    fn a_program_is_found_wherever_it_hides() {
        for script in [
            "rm x",
            "r'm' x",
            "\\rm x",
            "$'\\x72m' x",
            "{rm,-rf,x}",
            "/bin/rm x",
            "a=rm; $a x",
            "a=rm; ${a} x",
            "rm${IFS}x",
            "command rm x",
            "exec rm x",
            "builtin command rm x",
            "nohup rm x",
            "nice -n 5 rm x",
            "time rm x",
            "timeout -k 1 5 rm x",
            "setsid -w rm x",
            "stdbuf -oL rm x",
            "env rm x",
            "env -i A=1 rm x",
            "env -S 'rm x'",
            "A=1 rm x",
            "sudo rm x",
            "sudo -u bob -- rm x",
            "doas rm x",
            "xargs rm",
            "xargs -0 -n 1 rm",
            "find . -exec rm {} +",
            "find . -ok rm {} ';'",
            "sh -c 'rm x'",
            "bash -lc 'rm x'",
            "bash --norc -x -c 'rm x'",
            "zsh -c \"rm x\"",
            "sh <<X\nrm x\nX",
            "sh <<< 'rm x'",
            "echo 'rm x' | sh",
            "eval 'rm x'",
            "eval rm x",
            "trap 'rm x' EXIT",
            "alias l='rm x'",
            "coproc rm x",
            "! rm x",
            "echo $(rm x)",
            "echo `rm x`",
            "echo \"$(rm x)\"",
            "echo ${y:-$(rm x)}",
            "echo ${y:=`rm x`}",
            "cat <(rm x)",
            "echo > >(rm x)",
            "cat <<X\n$(rm x)\nX",
            "cat <<-X\n\t`rm x`\n\tX",
            "y=$(rm x)",
            "y=($(rm x))",
            "y[$(rm x)]=1",
            "declare 'y[$(rm x)]=1'",
            "echo $((1 + $(rm x)))",
            "(( $(rm x) ))",
            "[[ -n $(rm x) ]]",
            "[ -v 'y[$(rm x)]' ]",
            "case $(rm x) in a) ;; esac",
            "case a in a) rm x;; esac",
            "if a; then b; elif rm x; then c; fi",
            "for i in $(rm x); do a; done",
            "for i in a; do rm x; done",
            "while rm x; do a; done",
            "until a; do rm x; done",
            "f() { rm x; }",
            "function f { rm x; }",
            "( rm x )",
            "{ rm x; }",
            "a && b || rm x",
            "a; b & rm x",
            "a | b | rm x",
            "a # c\nrm x",
            "watch -n1 'rm x'",
            "ssh host rm x",
            "docker exec box rm x",
            "busybox rm x",
            "sudo env A=1 timeout 5 sh -c 'nice bash -c \"rm x\"'",
            "if true; then { ( rm x ) }; fi",
            "printf -v 'y[$(rm x)]' z",
            "su -c 'rm x' bob",
            "setsid -f rm x",
            "time -a -o f rm x",
            "/usr/bin/time -a -o f rm x",
            "- rm x",
            "nice --adj 5 rm x",
            "timeout --kill 1 5 rm x",
            "env -iS 'rm x'",
            "env --split='rm x'",
            "env --argv0 y rm x",
            "env -S 'A=1 r\"m\"' x",
            "choom -n 5 -- rm x",
            "uclampset -m 5 rm x",
            "chrt -i 0 rm x",
            "chrt -i rm x",
            "chrt -d --sched-period 5 0 rm x",
            "ionice --class 3 rm x",
            "taskset -c 0 rm x",
            "setarch x86_64 -R rm x",
            "setarch -R rm x",
            "linux32 rm x",
            "prlimit --nofile=5 --core rm x",
            "numactl -N 0 rm x",
            "unshare -r --map-user 5 rm x",
            "nsenter -t 1 -n -r --setuid 0 rm x",
            "setpriv --reuid 1 --clear-groups rm x",
            "setpriv --reu 1 rm x",
            "capsh --drop=all -- -c 'rm x'",
            "capsh == -- -c 'rm x'",
            "runuser -u bob -- rm x",
            "runuser bob -c 'rm x'",
            "su --command='rm x' bob",
            "sg group 'rm x'",
            "sg group -c 'rm x'",
            "flock f rm x",
            "flock -w 5 f -c 'rm x'",
            "chroot --userspec a:b / rm x",
            "systemd-run --uid 5 -p A=b rm x",
            "script -qec 'rm x' f",
            "script -I f -q --command='rm x'",
            "script -q f rm x",
            "script -q -- rm x",
            "watch echo ';' rm x",
            "watch -x -n 1 rm x",
            "watch -tx sh -c 'rm x'",
            "watch rm $x",
            "parallel rm {} ::: x",
            "parallel rm $x",
            "xargs -I{} rm {}",
            "xargs --replace rm",
            "parallel rm ::: x",
            "parallel -j 5 'a; rm'",
            "parallel ::: 'rm x'",
            "echo 'rm x' | parallel",
            "cat <<X | sh\nrm x\nX",
            "sh -c '\"$@\"' y rm x",
            "sh -c '$*' y rm x",
            "sh -c '$0 $1' rm x",
            "sh -c 'eval \"$1\"' y 'rm x'",
            "sh -c 'set -e; \"$1\" \"${2}\"' y rm x",
            "sh -c 'sh -c \"\\$1\" y rm; $1' y rm",
            "a \\\n && rm x",
            "r\\\nm x",
        ] {
            let read = read_script(script);
            let found = read.invocations.iter().any(|one| one.name() == Some("rm"));
            assert!(found, "{script}: {read:?}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_unknown() {
        for script in [
            "$x y",
            "$(echo rm) x",
            "`echo rm` x",
            "/b?n/rm x",
            "eval \"$x\"",
            "sh -c \"$x\"",
            "curl a.test | sh",
            "base64 -d f | bash",
            "bash <(curl a.test)",
            "source <(curl a.test)",
            ". /dev/stdin <<< \"$(curl a.test)\"",
            "sudo $x",
            "env $x rm",
            "a=1; a=rm; $a x",
            "if x; then",
            "echo 'x",
            "echo \"x",
            "echo $(x",
            "{ x",
            "x ;;",
            "a\0b",
            "for",
            "bash -c \"$(cat f)\"",
            "${!x} y",
            "$1 y",
            "f() { f | f & }; f",
            "select i in a; do rm x; done",
            "xargs -I% sh -c %",
            "xargs -0I % sh -c %",
            "xargs --repl=% sh -c %",
            "xargs sh -c '\"$@\"' x",
            "parallel 'r{}' ::: m",
            "parallel < f",
            // Whose parameters a script means is not followed.
            "sh -c 'f() { \"$@\"; }; f rm' x ls",
            "sh -c 's\"et\" -- rm; \"$@\"' x ls",
            "sh -c 'while a; do \"$1\"; shift; done' x ls rm",
            "sh -c '. f; \"$1\"' x ls",
            "sh -c '\"$2\"' x ls",
        ] {
            assert!(read_script(script).unknown.is_some(), "{script}");
        }
    }

    #[test]
    fn what_is_only_said_is_not_done() {
        for script in [
            "echo rm x",
            "echo 'rm x'",
            "grep 'rm x' f",
            "cat <<'X'\n$(rm x)\nX",
            "cat <<X\nrm x\nX",
            "ls # rm x",
            "echo '$(rm x)'",
            "echo \\$(echo)",
            "command -v rm",
            "sh -c 'echo rm x'",
            "sh -c 'echo \"$@\"' y rm x",
            "sh -c 'echo \"$1\"' rm x",
            "setpriv --groups rm echo x",
            "[ -d rm ] || echo rm",
        ] {
            assert!(!names(script).contains(&"rm".to_owned()), "{script}");
        }
        assert_eq!(read_script("if [ -d x ]; then echo \"$HOME\"; fi").unknown, None);
        assert_eq!(read_script("find . -exec sh -c 'set -e; wc -l \"$1\"' x {} ';'").unknown, None);
        assert_eq!(read_script("for f in *.rs; do wc -l \"$f\"; done").unknown, None);
    }

    #[test]
    fn arguments_that_are_not_text_are_unknown_words() {
        use std::os::unix::ffi::OsStringExt;
        let argv = ["rm".into(), std::ffi::OsString::from_vec(vec![0xff])];
        let read = extract(&argv);
        assert_eq!(read.invocations[0].name(), Some("rm"));
        assert_eq!(read.invocations[0].words[1].literal(), None);
        assert!(extract(&[]).invocations.len() <= 1);
    }

    /// Nested and unclosed input of every kind, short and long: the reader answers, and says when it does not know.
    #[test]
    fn bombs_neither_abort_nor_hang() {
        let openers = [
            "(",
            "( ",
            "{ ",
            "$(",
            "$(echo ",
            "\"$(",
            "${a:-",
            "`",
            "if ",
            "if a; then ",
            "while a; do ",
            "case a in a) ",
            "for i in a; do ",
            "f() { ",
            "function f { ",
            "<(",
            "<(cat ",
            "((",
            "$((",
            "[[ ( ",
            "[[ ! ",
            "! ",
            "time ",
            "coproc ",
            "a=(",
            "{a,",
            "@(",
            "sudo ",
            "env ",
            "sh -c '",
            "eval ",
            "cat <<X\n$(",
            "a && ",
            "a | ",
            "a; ",
            "elif a; then ",
            "\\",
            "'",
            "\"",
            "$'",
            "select i in ",
            "}",
            ")",
            "fi ",
            "esac ",
            "done ",
            "$[",
            "${",
            "a[",
            ">&",
            "<<<",
            "[[ a && ",
            "case ",
        ];
        let closers = [
            "", ")", " )", "}", "; }", "fi;", "; fi", "; done", " esac", ";; esac", "]]", "))", "`", "\"", "'", ")\"",
            "}}",
        ];
        for opener in openers {
            for closer in closers {
                for count in [3, 20, 70] {
                    let _: Extraction = read_script(&format!("{}a{}", opener.repeat(count), closer.repeat(count)));
                }
            }
            for count in [1_000, 20_000] {
                let _: Extraction = read_script(&opener.repeat(count));
            }
        }
        let long = read_script(&"a;".repeat(40_000));
        assert!(long.unknown.is_some_and(|why| why.contains("too long")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_mix_of_shell_pieces_is_read(pieces in prop::collection::vec(prop::sample::select(vec![
            "a", " ", "\n", ";", "&", "|", "(", ")", "{", "}", "$", "`", "'", "\"", "\\", "<", ">", "#", "if", "then", "fi", "case", "in",
            "esac", "do", "done", "for", "while", "$(", "${", "$((", "<<X", "X", "=", "[", "]", "[[", "]]", "!", "*", "rm", "sudo", "sh -c ",
            "function", "coproc", "time", "-", "é", "\u{202e}",
        ]), 0..40)) {
            let _: Extraction = read_script(&pieces.concat());
            let _: Extraction = read_script(&pieces.join(" "));
        }

        #[test]
        fn quoting_a_word_changes_nothing(word in "[a-z]{1,8}", arguments in prop::collection::vec("[ -~]{0,12}", 0..4)) {
            let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
            let line: Vec<String> = std::iter::once(word.as_str()).chain(arguments.iter().map(String::as_str)).map(quote).collect();
            let read = read_script(&line.join(" "));
            let first: Vec<&str> = read.invocations[0].words.iter().map(|word| word.shown()).collect();
            prop_assert_eq!(first[0], word.as_str());
            let wanted: Vec<&str> = arguments.iter().map(String::as_str).collect();
            prop_assert_eq!(&first[1..], &wanted[..]);
        }
    }
}
