//! Tools that run machines, clusters and services elsewhere: what deletes, by the words their commands are made of.

use super::pattern::Words;
use super::{Class, Hit, asks_for_help};
use crate::shell::Invocation;

/// Tools whose every command reaches a provider.
const TOOLS: &[&str] = &[
    "aws",
    "gcloud",
    "gsutil",
    "bq",
    "az",
    "doctl",
    "heroku",
    "fly",
    "flyctl",
    "railway",
    "vercel",
    "netlify",
    "supabase",
    "neonctl",
    "neon",
    "wrangler",
    "eksctl",
    "kops",
    "linode-cli",
    "hcloud",
    "scw",
    "oci",
    "ibmcloud",
    "pulumi",
    "terraform",
    "tofu",
    "terragrunt",
    "kubectl",
    "oc",
    "helm",
    "helmfile",
    "argocd",
    "flux",
    "velero",
    "serverless",
    "sls",
    "cdk",
    "sam",
    "copilot",
    "amplify",
    "firebase",
    "pscale",
    "turso",
    "atlas",
    "mongocli",
    "confluent",
    "render",
    "gh",
    "glab",
    "hub",
    "tea",
    "vault",
    "consul",
    "nomad",
    "boundary",
    "waypoint",
    "packer",
    "ansible",
    "ansible-playbook",
    "salt",
    "knife",
    "puppet",
    "chef-client",
    "op",
    "doppler",
    "infisical",
    "stripe",
    "twilio",
    "databricks",
    "snow",
    "snowsql",
    "cloudflared",
    "tailscale",
    "eb",
    "ecs-cli",
    "s3cmd",
    "rclone",
    "mc",
    "minio",
    "upcloud",
    "exo",
    "openstack",
    "nova",
    "virsh",
    "vagrant",
    "multipass",
    "lxc",
    "incus",
    "proxmox",
];

/// Parts of a word (between `-`, `_`, `:` and capitals) that say that something is gone afterwards.
const DELETING: &[&str] = &[
    "delete",
    "deletes",
    "del",
    "destroy",
    "destroys",
    "remove",
    "rm",
    "rb",
    "rmi",
    "purge",
    "terminate",
    "drop",
    "wipe",
    "erase",
    "uninstall",
    "drain",
    "prune",
    "revoke",
    "deregister",
    "flush",
    "truncate",
    "evict",
    "reset",
    "undeploy",
    "decommission",
    "teardown",
    "nuke",
    "shutdown",
    "cancel",
    "disable",
    "detach",
    "obliterate",
    "unpublish",
    "archive",
    "rollback",
    "taint",
    "scale",
    "restore",
    "abandon",
];

/// What a verb is only in these tools.
const SPECIAL: &[(&[&str], &str, &str)] = &[
    (
        &["terraform", "tofu", "terragrunt", "pulumi", "cdk", "sam"],
        "apply -auto-approve|--auto-approve|--yes|-y",
        "changes infrastructure without showing it first",
    ),
    (
        &["terraform", "tofu", "terragrunt"],
        "state rm|mv|push|replace-provider",
        "changes what terraform believes to exist",
    ),
    (&["aws"], "s3|s3api --delete", "deletes stored objects"),
    (&["kubectl", "oc"], "replace --force", "deletes and makes again"),
    (&["supabase"], "db reset|push", "resets or changes the database"),
    (&["ansible", "ansible-playbook", "salt", "knife", "puppet", "chef-client"], "", "changes many machines at once"),
    (&["railway"], "down", "takes a deployment away"),
    (&["vagrant", "multipass"], "halt|stop", "stops machines"),
];

/// Commands that print secrets.
const SECRETS: &[(&[&str], &str)] = &[
    (&["aws"], "configure get|export-credentials"),
    (&["aws"], "secretsmanager|ssm get-secret-value|get-parameter|get-parameters|get-parameters-by-path"),
    (&["aws"], "sts assume-role|get-session-token"),
    (&["gcloud"], "auth print-access-token|print-identity-token|application-default"),
    (&["gcloud"], "secrets versions access"),
    (&["az"], "account get-access-token"),
    (&["az"], "keyvault secret show|download"),
    (&["kubectl", "oc"], "get|describe secret|secrets"),
    (&["kubectl", "oc"], "get|describe <secret/|secrets/"),
    (&["kubectl"], "config view --raw"),
    (&["heroku"], "auth:token|config|config:get|authorizations"),
    (
        &["railway", "vercel", "netlify", "fly", "flyctl", "supabase", "doppler", "infisical"],
        "variables|env|env:list|secrets|env:get|tokens|token|vars",
    ),
    (&["fly", "flyctl", "railway"], "auth|tokens token|create|deploy"),
    (&["vault"], "read|token|print"),
    (&["vault"], "kv get"),
    (&["op"], "read|item|document|inject"),
    (&["terraform", "tofu"], "output|show -json|-raw"),
];

/// What is known about an invocation of such a tool.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let Some(name) = invocation.name() else { return Vec::new() };
    if !TOOLS.contains(&name) {
        return script(invocation, name);
    }
    let words = Words::of(invocation);
    let help = words.plain.first().is_some_and(|word| matches!(*word, "help" | "version" | "completion"))
        || words.plain.last() == Some(&"help");
    if asks_for_help(invocation) || help {
        return Vec::new();
    }
    let mut hits = vec![Hit::new(Class::Outward, name, "works on machines or services elsewhere")];
    let options = super::literals(invocation).filter(|word| word.starts_with("--delete")).count();
    // The verbs come first; a name further back may be anything.
    let verbs = words.plain.iter().take(4);
    if options > 0 || verbs.clone().any(|word| destroys(word)) {
        hits.push(Hit::new(Class::Destructive, name, "deletes what it names, elsewhere"));
    }
    for (tools, pattern, text) in SPECIAL {
        if tools.contains(&name) && words.holds(pattern) {
            hits.push(Hit::new(Class::Destructive, name, *text));
        }
    }
    if SECRETS.iter().any(|(tools, pattern)| tools.contains(&name) && words.holds(pattern)) {
        hits.push(Hit::new(Class::Credentials, name, "prints credentials"));
    }
    hits
}

/// A script of the project that is named after what it does.
fn script(invocation: &Invocation, name: &str) -> Vec<Hit> {
    let stem = name.split('.').next().unwrap_or(name);
    let scripted = invocation.program().is_some_and(|program| program.contains('/')) && stem.len() > 2;
    if scripted && destroys(stem) && !matches!(stem, "rm" | "rmdir" | "reset" | "shutdown") {
        return vec![Hit::new(Class::Destructive, name, "is named after deleting")];
    }
    let outward = ["deploy", "publish", "release", "upload", "migrate", "provision"];
    match scripted && outward.iter().any(|word| stem.to_lowercase().contains(word)) {
        true => vec![Hit::new(Class::Outward, name, "is named after deploying")],
        false => Vec::new(),
    }
}

/// Whether a word says that something is gone afterwards: `delete`, `terminate-instances`, `apps:destroy`, `volumeDelete`.
pub(super) fn destroys(word: &str) -> bool {
    if word.contains('/') || word.contains('.') || word.contains('=') {
        return false;
    }
    let mut part = String::new();
    let mut parts = Vec::new();
    for c in word.chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            parts.push(std::mem::take(&mut part));
        }
        if c.is_alphanumeric() {
            part.extend(c.to_lowercase());
        }
    }
    parts.push(part);
    parts.iter().any(|part| DELETING.contains(&part.as_str())) || DELETING.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::destroys;

    #[test]
    fn deleting_words_are_known_in_every_spelling() {
        for word in [
            "delete",
            "DELETE",
            "delete-stack",
            "apps:destroy",
            "volumeDelete",
            "terminate_instances",
            "rb",
            "mcp__db__drop_table",
        ] {
            assert!(destroys(word), "{word}");
        }
        for word in ["describe", "undeleted.txt", "armor", "list", "deploy", "harbor", "s3://delete-me/x"] {
            assert!(!destroys(word), "{word}");
        }
    }
}
