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

/// One word of its own stands before the command.
const fn after(
    names: &'static [&'static str],
    short: &'static str,
    long: &'static [&'static str],
    carrier: bool,
) -> Wrapper {
    Wrapper { names, short, long, skip: 1, sets: false, carrier }
}

pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["env"],
        short: "uCa",
        long: &["--unset", "--chdir", "--argv0"],
        skip: 0,
        sets: true,
        carrier: true,
    },
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
            "--close-from",
            "--other-user",
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
    plain(&["nohup", "setsid", "command", "builtin"], ""),
    changing(&["noglob", "nocorrect"], "", &[]),
    plain(&["exec"], "a"),
    Wrapper {
        names: &["time", "gtime"],
        short: "fo",
        long: &["--format", "--output"],
        skip: 0,
        sets: false,
        carrier: true,
    },
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
        long: &["--class", "--classdata", "--pid", "--pgid", "--uid"],
        skip: 0,
        sets: false,
        carrier: true,
    },
    Wrapper {
        names: &["chrt"],
        short: "TPD",
        long: &["--sched-runtime", "--sched-period", "--sched-deadline"],
        skip: 1,
        sets: false,
        carrier: true,
    },
    after(&["taskset"], "", &[], true),
    changing(&["choom"], "np", &["--adjust", "--pid"]),
    changing(&["uclampset"], "mMp", &["--pid"]),
    changing(&["prlimit"], "po", &["--pid", "--output"]),
    after(&["setarch"], "", &[], false),
    changing(&["linux32", "linux64", "i386", "i486", "i586", "i686", "x86_64", "uname26"], "", &[]),
    changing(
        &["numactl"],
        "iwNCmpP",
        &["--interleave", "--weighted-interleave", "--cpunodebind", "--physcpubind", "--membind", "--preferred"],
    ),
    changing(&["cpulimit"], "lpeP", &["--limit", "--pid", "--exe", "--path"]),
    changing(&["watch"], "nqs", &["--interval", "--equexit", "--shotsdir"]),
    changing(
        &["xargs"],
        "IELJRSnPsda",
        &["--max-args", "--max-procs", "--max-chars", "--delimiter", "--arg-file", "--process-slot-var"],
    ),
    changing(
        &["parallel"],
        "jPNLnIaSCd",
        &[
            "--jobs",
            "--max-procs",
            "--max-args",
            "--arg-file",
            "--sshlogin",
            "--colsep",
            "--delimiter",
            "--delay",
            "--joblog",
            "--results",
            "--timeout",
            "--retries",
            "--load",
            "--workdir",
        ],
    ),
    changing(&["strace", "ltrace"], "eoEpPsSuxaOI", &[]),
    changing(&["busybox", "toybox"], "", &[]),
    after(&["chroot"], "", &["--groups", "--userspec"], false),
    after(&["flock"], "wE", &["--timeout", "--wait", "--conflict-exit-code"], false),
    after(&["sg"], "", &[], false),
    changing(
        &["unshare"],
        "RwSGl",
        &[
            "--map-user",
            "--map-group",
            "--map-users",
            "--map-groups",
            "--propagation",
            "--setgroups",
            "--root",
            "--wd",
            "--setuid",
            "--setgid",
            "--monotonic",
            "--boottime",
            "--load-interp",
        ],
    ),
    changing(&["nsenter"], "tSGWN", &["--target", "--setuid", "--setgid", "--wdns"]),
    changing(
        &["setpriv"],
        "",
        &[
            "--ambient-caps",
            "--inh-caps",
            "--bounding-set",
            "--ruid",
            "--euid",
            "--rgid",
            "--egid",
            "--reuid",
            "--regid",
            "--groups",
            "--securebits",
            "--pdeathsig",
            "--ptracer",
            "--selinux-label",
            "--apparmor-profile",
            "--landlock-access",
            "--landlock-rule",
            "--seccomp-filter",
        ],
    ),
    changing(&["bwrap", "firejail", "proot"], "rwRbq", &[]),
    changing(&["fakeroot"], "lfisb", &["--lib", "--faked", "--fd-base"]),
    changing(
        &["systemd-run"],
        "HMupE",
        &[
            "--host",
            "--machine",
            "--unit",
            "--property",
            "--description",
            "--slice",
            "--service-type",
            "--uid",
            "--gid",
            "--nice",
            "--working-directory",
            "--setenv",
            "--path-property",
            "--socket-property",
            "--timer-property",
            "--on-active",
            "--on-boot",
            "--on-startup",
            "--on-unit-active",
            "--on-unit-inactive",
            "--on-calendar",
        ],
    ),
    changing(&["caffeinate", "catchsegv", "valgrind", "rlwrap", "unbuffer", "dbus-run-session"], "pu", &[]),
    changing(&["entr", "torsocks", "torify", "proxychains", "proxychains4", "tsocks"], "f", &[]),
];

/// `runuser -u NAME COMMAND`, which is no shell then.
pub(super) const RUNUSER: Wrapper =
    changing(&["runuser"], "ugGw", &["--user", "--group", "--supp-group", "--whitelist-environment"]);

/// Options without a value whose names begin others.
const SHORTER: &[&str] = &["--net", "--wd", "--tag"];

impl Wrapper {
    /// Whether this long option takes the next word as its value. It may be cut short, as getopt_long(3) lets it.
    pub(super) fn takes_value(&self, option: &str) -> bool {
        let whole = self.long.contains(&option);
        whole || option.len() > 2 && !SHORTER.contains(&option) && self.long.iter().any(|long| long.starts_with(option))
    }
}

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
        &[
            "-C",
            "-c",
            "--git-dir",
            "--work-tree",
            "--namespace",
            "--config-env",
            "--exec-path",
            "--super-prefix",
            "--attr-source",
            "--shallow-file",
        ],
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
