//! The option grammar of commands that start other commands: enough to find where the other command begins.

/// How to get from a wrapper's first argument to the command it starts.
pub(super) struct Wrapper {
    /// Names it goes by.
    pub(super) names: &'static [&'static str],
    /// Short options that take the next word (or the rest of their own) as a value.
    pub(super) short: &'static str,
    /// Long options that take the next word as a value unless written with `=`.
    pub(super) long: &'static [&'static str],
    /// Words of its own before the command, such as the duration of `timeout`.
    pub(super) skip: usize,
    /// It takes `NAME=VALUE` before the command.
    pub(super) sets: bool,
    /// It changes nothing about the command that a rule would care for.
    pub(super) carrier: bool,
}

const fn plain(names: &'static [&'static str], short: &'static str) -> Wrapper {
    Wrapper { names, short, long: &[], skip: 0, sets: false, carrier: true }
}

const fn changing(names: &'static [&'static str], short: &'static str, long: &'static [&'static str]) -> Wrapper {
    Wrapper { names, short, long, skip: 0, sets: false, carrier: false }
}

const fn after(names: &'static [&'static str], short: &'static str, skip: usize, carrier: bool) -> Wrapper {
    Wrapper { names, short, long: &[], skip, sets: false, carrier }
}

pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper { names: &["env"], short: "uC", long: &["--unset", "--chdir"], skip: 0, sets: true, carrier: true },
    Wrapper {
        names: &["sudo", "sudo-rs"],
        short: "ughpCTrtUDRc",
        long: &[
            "--user",
            "--group",
            "--host",
            "--prompt",
            "--chdir",
            "--chroot",
            "--command-timeout",
            "--role",
            "--type",
        ],
        skip: 0,
        sets: true,
        carrier: false,
    },
    Wrapper {
        names: &["doas", "run0", "pkexec"],
        short: "uCa",
        long: &["--user"],
        skip: 0,
        sets: true,
        carrier: false,
    },
    Wrapper { names: &["nice"], short: "n", long: &["--adjustment"], skip: 0, sets: false, carrier: true },
    plain(&["nohup", "setsid", "time", "gtime", "command", "builtin", "exec"], "afo"),
    Wrapper {
        names: &["timeout", "gtimeout"],
        short: "ks",
        long: &["--kill-after", "--signal"],
        skip: 1,
        sets: false,
        carrier: true,
    },
    Wrapper {
        names: &["stdbuf"],
        short: "ioe",
        long: &["--input", "--output", "--error"],
        skip: 0,
        sets: false,
        carrier: true,
    },
    Wrapper {
        names: &["ionice"],
        short: "cnpPu",
        long: &["--class", "--classdata"],
        skip: 0,
        sets: false,
        carrier: true,
    },
    after(&["chrt", "taskset"], "", 1, true),
    changing(&["watch"], "n", &["--interval"]),
    changing(
        &["xargs"],
        "IiEeLlnPsda",
        &["--replace", "--max-args", "--max-procs", "--max-lines", "--max-chars", "--delimiter", "--arg-file", "--eof"],
    ),
    changing(&["parallel"], "jNLnIaS", &["--jobs", "--arg-file", "--sshlogin"]),
    changing(&["strace", "ltrace"], "eoEpPsSuxaOI", &[]),
    changing(&["busybox", "toybox"], "", &[]),
    after(&["chroot"], "", 1, false),
    after(&["flock"], "wEc", 1, false),
    changing(&["unshare", "nsenter", "setpriv", "capsh", "bwrap", "firejail", "proot", "fakeroot"], "tSGrwRC", &[]),
    changing(
        &["caffeinate", "catchsegv", "valgrind", "rlwrap", "unbuffer", "systemd-run", "dbus-run-session"],
        "pu",
        &[],
    ),
    changing(&["entr", "torsocks", "torify", "proxychains", "proxychains4", "tsocks"], "f", &[]),
];

/// Commands that start another after a word of their own: `poetry run …`, `op run -- …`.
pub(super) const RUNNERS: &[(&str, &[&str])] = &[
    ("poetry", &["run"]),
    ("pipenv", &["run"]),
    ("uv", &["run"]),
    ("rye", &["run"]),
    ("pdm", &["run"]),
    ("hatch", &["run"]),
    ("conda", &["run"]),
    ("bundle", &["exec"]),
    ("op", &["run"]),
    ("doppler", &["run"]),
    ("infisical", &["run"]),
    ("railway", &["run"]),
    ("heroku", &["run"]),
    ("fly", &["ssh console -C"]),
    ("dotenv", &["run"]),
    ("mise", &["exec", "x"]),
    ("asdf", &["exec"]),
    ("npm", &["exec"]),
    ("pnpm", &["exec"]),
    ("yarn", &["exec"]),
    ("kubectl", &["exec"]),
    ("oc", &["exec"]),
    ("docker", &["exec", "run"]),
    ("podman", &["exec", "run"]),
    ("holdpoint", &["run", "check"]),
];

/// Shells that take a script with `-c`, as a file, or on their input.
pub(super) const SHELLS: &[&str] =
    &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish", "su", "runuser"];

/// Options with a value that may stand between a tool and its verb.
const GLOBAL: &[(&[&str], &[&str])] = &[
    (
        &["git"],
        &["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path", "--super-prefix"],
    ),
    (
        &["kubectl", "oc", "helm", "k9s", "argocd", "flux", "velero"],
        &[
            "-n",
            "--namespace",
            "--context",
            "--kube-context",
            "--kubeconfig",
            "--cluster",
            "--user",
            "-s",
            "--server",
            "--token",
            "--as",
        ],
    ),
    (&["docker", "podman", "nerdctl"], &["-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--url"]),
    (&["docker-compose"], &["-f", "--file", "-p", "--project-name", "--env-file", "--profile"]),
    (&["aws"], &["--profile", "--region", "--output", "--endpoint-url", "--query", "--color"]),
    (&["gcloud", "gsutil", "bq"], &["--project", "--account", "--configuration", "--format", "-o", "-h", "-u"]),
    (&["az"], &["--subscription", "--output", "-o", "--query"]),
    (&["systemctl"], &["-H", "--host", "-M", "--machine", "--root", "-t", "--type"]),
    (&["npm", "pnpm", "yarn", "bun"], &["--prefix", "-C", "--dir", "--cwd", "-w", "--workspace", "--filter", "-F"]),
    (&["cargo"], &["-C", "-Z", "--config", "--color"]),
    (
        &["railway", "heroku", "fly", "flyctl", "vercel", "netlify", "supabase", "wrangler", "doctl"],
        &[
            "-a",
            "--app",
            "-s",
            "--service",
            "-e",
            "--environment",
            "-t",
            "--token",
            "-p",
            "--project",
            "--scope",
            "-c",
            "--config",
        ],
    ),
    (&["gh", "glab"], &["-R", "--repo", "--hostname"]),
    (&["redis-cli", "valkey-cli"], &["-h", "-p", "-s", "-a", "-u", "--user", "--pass", "-n", "-i", "-r"]),
    (&["etcdctl", "consul", "vault", "nomad"], &["--endpoints", "-address", "-token", "-namespace", "-region"]),
    (
        &["terraform", "tofu", "terragrunt", "pulumi", "serverless", "sls", "cdk", "sam"],
        &["-C", "--cwd", "--stage", "-s", "--stack", "--profile"],
    ),
    (&["zfs", "zpool", "btrfs", "nmcli", "ip", "restic", "borg"], &["-r", "--repo"]),
];

/// Options with a value that may stand between this tool and its verb; `None` for a tool that has no verbs we know.
pub(super) fn global(name: &str) -> Option<&'static [&'static str]> {
    GLOBAL.iter().find(|(names, _)| names.contains(&name)).map(|(_, options)| *options)
}
