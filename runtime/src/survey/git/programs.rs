//! What a repository makes git run: settings that name programs, and hooks.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::walk::{Kind, entry_at, kind_at};
use super::settings::{Setting, is_listed, settings};
use super::{LARGEST_CONFIG, common_dir, gitdir, read};

/// The settings that git and its companions write into a repository, and others that run nothing and write nowhere
/// (git-config(1)); `*` is all of a section. What is not among them is told: a list of those that do run something would grow
/// with every version of git. No setting is harmless whose subsection is an address (`url.*.insteadOf`), which may name a program.
const HARMLESS: [(&str, &str); 61] = [
    (
        "core",
        "abbrev autocrlf bare bigfilethreshold checkroundtripencoding checkstat commentchar commentstring commitgraph \
         compression createobject deltabasecachelimit eol excludesfile filemode filesreflocktimeout fscache fsync \
         fsyncmethod fsyncobjectfiles hidedotfiles ignorecase ignorestat logallrefupdates longpaths loosecompression \
         maxtreedepth multipackindex notesref packedgitlimit packedgitwindowsize packedrefstimeout precomposeunicode \
         prefersymlinkrefs preloadindex protecthfs protectntfs quotepath repositoryformatversion safecrlf \
         sharedrepository sparsecheckout sparsecheckoutcone splitindex symlinks trustctime untrackedcache usereplacerefs \
         warnambiguousrefs whitespace worktree",
    ),
    (
        "remote",
        "url pushurl fetch push tagopt prune prunetags promisor partialclonefilter mirror gh-resolved pushdefault \
         skipdefaultupdate skipfetchall followremotehead",
    ),
    (
        "branch",
        "remote pushremote merge rebase description autosetupmerge autosetuprebase sort gh-merge-base vscode-merge-base \
         github-pr-owner-number",
    ),
    (
        "submodule",
        "url active path branch ignore recurse shallow update fetchrecursesubmodules fetchjobs propagatebranches \
         alternatelocation alternateerrorstrategy",
    ),
    ("user", "name email signingkey useconfigonly"),
    ("author", "name email"),
    ("committer", "name email"),
    ("extensions", "*"),
    ("add", "ignoreerrors"),
    ("am", "keepcr threeway"),
    ("apply", "ignorewhitespace whitespace"),
    ("blame", "*"),
    ("checkout", "*"),
    ("clean", "requireforce"),
    ("column", "*"),
    ("commit", "gpgsign verbose status cleanup template"),
    ("commitgraph", "*"),
    ("credential", "username usehttppath"),
    (
        "diff",
        "algorithm autorefreshindex colormoved colormovedws context dirstat dstprefix ignoresubmodules indentheuristic \
         interhunkcontext mnemonicprefix noprefix orderfile relative renamelimit renames srcprefix statgraphwidth \
         statnamewidth submodule suppressblankempty wordregex wserrorhighlight binary xfuncname cachetextconv",
    ),
    ("feature", "*"),
    (
        "fetch",
        "all fsckobjects negotiationalgorithm output parallel prune prunetags recursesubmodules showforcedupdates unpacklimit writecommitgraph",
    ),
    (
        "format",
        "attach cc coverfromdescription coverletter from headers noprefix notes numbered pretty signoff signature subjectprefix suffix thread to useautobase",
    ),
    ("fsck", "*"),
    (
        "gc",
        "auto autodetach autopacklimit aggressivedepth aggressivewindow bigpackthreshold cruftpacks maxcruftsize packrefs \
         pruneexpire reflogexpire reflogexpireunreachable rerereresolved rerereunresolved worktreepruneexpire writecommitgraph",
    ),
    ("grep", "*"),
    (
        "http",
        "emptyauth extraheader followredirects lowspeedlimit lowspeedtime maxrequests minsessions postbuffer sslverify useragent version",
    ),
    ("i18n", "commitencoding logoutputencoding"),
    ("interactive", "singlekey"),
    ("tag", "gpgsign sort forcesignannotated"),
    ("pull", "rebase ff"),
    ("push", "default autosetupremote followtags pushoption recursesubmodules negotiate useforceifincludes usebitmaps"),
    (
        "log",
        "abbrevcommit date decorate diffmerges excludedecoration follow graphcolors initialdecorationset mailmap showroot",
    ),
    ("lsrefs", "unborn"),
    ("mailinfo", "scissors"),
    (
        "merge",
        "ff autostash branchdesc conflictstyle defaulttoupstream directoryrenames log renamelimit renames renormalize stat suppressdest verbosity",
    ),
    ("notes", "*"),
    ("pretty", "*"),
    ("promisor", "quiet"),
    ("protocol", "version"),
    (
        "rebase",
        "abbreviatecommands autostash autosquash backend forkpoint instructionformat maxlabellength missingcommitscheck \
         rebasemerges reschedulefailedexec stat updaterefs",
    ),
    (
        "receive",
        "advertiseatomic advertisepushoptions autogc certnonceseed certnonceslop denycurrentbranch denydeletecurrent \
         denydeletes denynonfastforwards fsckobjects hiderefs keepalive maxinputsize shallowupdate unpacklimit \
         updateserverinfo",
    ),
    ("reftable", "*"),
    ("repack", "*"),
    ("rerere", "*"),
    ("lfs", "repositoryformatversion url access"),
    ("init", "defaultbranch"),
    ("index", "*"),
    ("pack", "*"),
    ("maintenance", "auto strategy autodetach enabled schedule"),
    ("showbranch", "default"),
    ("sparse", "*"),
    ("splitindex", "*"),
    ("stash", "*"),
    ("transfer", "advertiseobjectinfo advertisesid credentialsinurl fsckobjects hiderefs unpacklimit"),
    ("uploadarchive", "allowunreachable"),
    (
        "uploadpack",
        "allowanysha1inwant allowfilter allowreachablesha1inwant allowrefinwant allowtipsha1inwant hiderefs keepalive",
    ),
    ("versionsort", "*"),
    ("worktree", "*"),
    ("color", "*"),
    ("advice", "*"),
    ("status", "*"),
];

/// Settings whose value is a command, in whatever section (git-config(1), gitattributes(5)).
const COMMANDS: &str = "alternaterefscommand askpass cccmd clean cmd command defaultkeycommand difffilter driver editor external \
                        fsmonitor gitproxy helper packobjectshook pager process program receivepack smudge sshcommand \
                        templatedir textconv tocmd uploadpack";

/// Sections in which `path` is a program.
const TOOLS: [&[u8]; 5] = [b"browser", b"difftool", b"lfs", b"man", b"mergetool"];

/// What takes its script from a file that the next word names; with a version at its end perhaps.
const INTERPRETERS: [&str; 13] =
    ["ash", "bash", "bun", "dash", "ksh", "lua", "node", "perl", "php", "python", "ruby", "sh", "zsh"];

/// Whether the value of a setting is a command.
pub(super) fn names_program(section: &[u8], key: &[u8], value: &[u8]) -> bool {
    let shell = value.starts_with(b"!");
    match (section, key) {
        (b"alias", _) | (b"submodule", b"update") => shell,
        (b"pager", _) => true,
        (section, b"path") => TOOLS.contains(&section),
        _ => COMMANDS.split(' ').any(|command| command.as_bytes() == key),
    }
}

/// The words of a command for the shell, but not what its output goes to; and whether each is run for certain: as the first one
/// that is a path, or as the script of an interpreter.
pub(super) fn words(command: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"'\"|&;()<>!${}`=".contains(byte);
    let (mut rest, mut first, mut script) = (command, true, false);
    std::iter::from_fn(move || {
        loop {
            let start = rest.iter().position(|byte| !ends(byte))?;
            let output = rest[..start].contains(&b'>');
            let length = rest[start..].iter().position(ends).unwrap_or(rest.len() - start);
            let word = &rest[start..start + length];
            rest = &rest[start + length..];
            if !output {
                let runs = script || (first && word.contains(&b'/'));
                script = is_interpreter(word) || (script && word.starts_with(b"-"));
                first = false;
                return Some((word, runs));
            }
        }
    })
}

/// Whether a word of a command is a program that runs the script which the next word names.
fn is_interpreter(word: &[u8]) -> bool {
    let name = word.rsplit(|&byte| byte == b'/').next().unwrap_or(word);
    let end = name.iter().rposition(|byte| !byte.is_ascii_digit() && *byte != b'.').map_or(0, |last| last + 1);
    INTERPRETERS.iter().any(|known| known.as_bytes() == &name[..end])
}

/// The settings and hooks by which git would run programs in the repository whose `.git` is `dotgit`, as git calls them.
/// `was_there` tells of a `config` that it cannot have been changed: what it says is its owner's.
pub(crate) fn git_programs(dotgit: &Path, was_there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let private = match entry_at(dotgit) {
        Ok(Ok(Kind::File)) => gitdir(dotgit),
        Ok(Ok(Kind::Directory)) => Some(dotgit.to_owned()),
        Ok(Ok(Kind::Symlink)) => match dotgit.canonicalize() {
            Ok(file) if file.is_file() => return vec!["a file elsewhere".into()],
            target => target.ok(),
        },
        _ => None,
    };
    let Some(private) = private else { return Vec::new() };
    let mut runs = BTreeSet::new();
    if entry_at(&private.join("commondir")) == Ok(Ok(Kind::Symlink)) {
        runs.insert("a commondir elsewhere".to_owned());
    }
    // Of most repositories they are one.
    for git in BTreeSet::from([common_dir(&private), private]) {
        if !was_there(&git.join("config")) {
            for name in ["config", "config.worktree"] {
                configured(&git.join(name), &mut runs);
            }
            hooks(&git.join("hooks"), &mut runs);
        }
    }
    runs.into_iter().collect()
}

fn configured(file: &Path, runs: &mut BTreeSet<String>) {
    if kind_at(file).is_err() {
        return;
    }
    match read(file, LARGEST_CONFIG) {
        Some(text) => {
            let tells = |setting: &&Setting| !is_harmless(setting) || leads_away(setting, file);
            runs.extend(settings(&text).iter().filter(tells).map(named));
        }
        None => drop(runs.insert(format!("{}, which cannot be read", name_of(file)))),
    }
}

fn is_harmless((section, key, value): &Setting) -> bool {
    let harmless = is_listed(&HARMLESS, section, key);
    // A URL may name a program as well (gitremote-helpers(7), git-remote-ext(1)), and how to update a submodule a command.
    harmless && !value.windows(2).any(|two| two == b"::") && !value.trim_ascii_start().starts_with(b"!")
}

/// Whether it gives the repository of this configuration a tree that is not its own, as that of a submodule is: a checkout would
/// write there.
fn leads_away((section, key, value): &Setting, config: &Path) -> bool {
    let git = || config.parent()?.canonicalize().ok();
    let own = || gitdir(&git()?.join(OsStr::from_bytes(value)).join(".git"));
    section == b"core" && key == b"worktree" && (git().is_none() || own() != git())
}

fn named((section, key, _): &Setting) -> String {
    format!("{}.{}", String::from_utf8_lossy(section), String::from_utf8_lossy(key))
}

/// Those that git would run (githooks(5)).
fn hooks(directory: &Path, runs: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let runs_it = path.metadata().is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0);
        if runs_it && path.extension().is_none_or(|end| end != "sample") {
            runs.insert(format!("hooks/{}", name_of(&path)));
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
