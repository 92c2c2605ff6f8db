//! Tables: version control, packages, data stores.

use super::Class::{Credentials, Destructive, Outward, System};
use super::pattern::Entry;

const G: &[&str] = &["git"];

pub(super) const GIT: &[Entry] = &[
    (Destructive, G, "push -f|--force|--force-with-lease|--force-if-includes|--mirror|--prune", "overwrites or deletes what others have pushed"),
    (Destructive, G, "push -d|--delete", "deletes a branch or tag for everyone"),
    (Destructive, G, "push <+|:", "overwrites or deletes a branch for everyone"),
    (Outward, G, "push|send-pack", "publishes commits"),
    (Outward, G, "pull|fetch|clone|ls-remote", "fetches from another machine"),
    (Outward, G, "submodule|lfs|remote|bundle update|add|pull|fetch|push", "fetches from another machine"),
    (Destructive, G, "reset --hard|--merge|--keep", "throws uncommitted work away"),
    (Destructive, G, "clean !-n", "deletes files that are not committed"),
    (Destructive, G, "checkout -f|--force", "throws uncommitted work away"),
    (Destructive, G, "checkout .|:/", "throws uncommitted work away"),
    (Destructive, G, "checkout * .|:/", "throws uncommitted work away"),
    (Destructive, G, "switch -f|--force|--discard-changes", "throws uncommitted work away"),
    (Destructive, G, "restore .|:/", "throws uncommitted work away"),
    (Destructive, G, "restore -W|--worktree", "throws uncommitted work away"),
    (Destructive, G, "stash clear|drop", "deletes stashed work"),
    (Destructive, G, "filter-branch|filter-repo", "rewrites the whole history"),
    (Destructive, G, "reflog expire|delete", "deletes the way back"),
    (Destructive, G, "gc --prune|--aggressive", "deletes the way back"),
    (Destructive, G, "prune|update-ref -d", "deletes objects or references"),
    (Destructive, G, "prune", "deletes objects for good"),
    (Destructive, G, "branch -D", "deletes a branch with unmerged work"),
    (Destructive, G, "tag|worktree -d|-D|--delete|--force", "deletes tags or work trees"),
    (Destructive, G, "rm -r", "deletes tracked files"),
    (Destructive, G, "replace|notes|rebase --delete|--root", "rewrites history"),
    (System, G, "config ~hookspath|alias.|pager|sshcommand|fsmonitor|filter.|editor|askpass|proxy|credential|diff.|merge.|include", "makes git run other programs"),
    (System, G, "config --global|--system", "changes git for every repository"),
    (System, G, "-c ~alias.|pager=|sshcommand|hookspath|fsmonitor|editor=|askpass|filter.|diff.|proxy=", "makes git run other programs"),
    (Credentials, G, "credential|credential-store|credential-cache", "prints stored credentials"),
    (Destructive, &["gh", "glab", "hub", "tea"], "release create|delete|upload", "publishes a release"),
    (Credentials, &["gh", "glab"], "auth token", "prints a token"),
    (Credentials, &["gh", "glab"], "auth status -t|--show-token", "prints a token"),
];

const NODE: &[&str] = &["npm", "pnpm", "yarn", "bun"];

pub(super) const PACKAGES: &[Entry] = &[
    (Destructive, NODE, "publish|unpublish|deprecate|dist-tag|owner", "changes what everyone downloads"),
    (Outward, NODE, "install|i|ci|add|update|upgrade|link|dlx|create|init|audit|login|adduser", "downloads and runs code from the registry"),
    (Credentials, NODE, "token", "handles registry tokens"),
    (Outward, NODE, "run|run-script deploy|release|publish|migrate", "runs the project's own way of deploying"),
    (Destructive, &["cargo"], "publish|yank|owner", "changes what everyone downloads"),
    (Outward, &["cargo"], "install|login|add|update|fetch", "downloads from the registry"),
    (Outward, &["pip", "pip3", "pipx", "uv", "poetry", "pdm", "conda", "mamba"], "install|add|sync|download|upgrade|tool|inject|create", "downloads and runs code from the index"),
    (Outward, &["uv"], "pip install|sync", "downloads and runs code from the index"),
    (Destructive, &["twine", "gem", "poetry", "flit", "hatch", "uv", "helm", "mvn", "gradle", "nuget", "dotnet"], "upload|push|publish|yank|deploy|nuget", "changes what everyone downloads"),
    (Outward, &["gem", "bundle", "go", "composer", "dotnet", "brew", "port", "nix-env", "snap", "flatpak"], "install|get|require|tap|update|upgrade|add", "downloads and installs code"),
    (System, &["apt", "apt-get", "dnf", "yum", "zypper", "pacman", "apk", "dpkg", "rpm", "snap", "flatpak", "brew"], "remove|purge|autoremove|erase|uninstall|del|-R", "removes software from the machine"),
    (Outward, &["apt", "apt-get", "dnf", "yum", "zypper", "apk"], "install|update|upgrade|dist-upgrade|full-upgrade|add", "installs software on the machine"),
    (Outward, &["make", "gmake", "just", "task", "rake", "ninja", "npm"], "install|deploy|publish|release|uninstall", "installs outside the workspace or deploys"),
    (Destructive, &["rake", "rails", "bin/rails"], "db:drop|db:reset|db:purge|db:schema:load|db:migrate:reset|db:rollback|db:truncate_all", "drops or resets the database"),
    (Destructive, &["php", "artisan"], "artisan migrate:fresh|migrate:reset|migrate:refresh|migrate:rollback|db:wipe", "drops or resets the database"),
    (Destructive, &["npx", "prisma", "bunx", "pnpx", "yarn", "pnpm"], "~--accept-data-loss|--force-reset", "drops or resets the database"),
    (Destructive, &["npx", "bunx", "pnpx", "yarn", "pnpm"], "prisma migrate reset", "drops or resets the database"),
    (Destructive, &["prisma"], "migrate reset", "drops or resets the database"),
    (Destructive, &["alembic", "flask"], "downgrade", "takes the schema back with its data"),
    (Destructive, &["flask"], "db downgrade", "takes the schema back with its data"),
    (Destructive, &["python", "python3", "manage.py"], "manage.py flush|reset_db|sqlflush", "empties the database"),
    (Destructive, &["sequelize", "sequelize-cli", "knex", "typeorm", "drizzle-kit", "diesel", "sqlx", "dbmate", "goose", "migrate", "flyway", "liquibase"], "db:drop|db:migrate:undo:all|migrate:rollback|schema:drop|drop|reset|down|clean|dropAll|drop-all", "drops or resets the database"),
    (Destructive, &["diesel", "sqlx"], "database|db|migration reset|drop|revert", "drops or resets the database"),
];

pub(super) const STORES: &[Entry] = &[
    (Destructive, &["dropdb", "dropuser"], "", "deletes a database or its user"),
    (Destructive, &["pg_restore"], "-c|--clean|--create", "drops what is there before it restores"),
    (Outward, &["pg_restore", "pg_dump", "pg_dumpall", "mysqldump", "mongodump", "mongorestore"], "", "reads or writes a whole database"),
    (Destructive, &["pg_resetwal", "initdb", "reindexdb"], "", "resets a database cluster"),
    (Destructive, &["mongorestore"], "--drop", "drops what is there before it restores"),
    (Destructive, &["mysqladmin", "mariadb-admin"], "drop|shutdown|flush-logs", "deletes or stops a database"),
    (Destructive, &["redis-cli", "valkey-cli"], "FLUSHALL|FLUSHDB|flushall|flushdb|DEL|del|UNLINK|unlink|SHUTDOWN|shutdown|DEBUG|debug|CONFIG|config|SCRIPT|EVAL|eval", "deletes keys or stops the server"),
    (Destructive, &["etcdctl"], "del|lease|snapshot", "deletes keys"),
    (Destructive, &["rabbitmqctl", "rabbitmqadmin"], "reset|force_reset|delete_vhost|delete_queue|purge_queue|stop|stop_app|delete|purge", "deletes queues or stops the broker"),
    (Destructive, &["kafka-topics", "kafka-topics.sh", "kafka-delete-records", "kafka-configs"], "--delete|--delete-config", "deletes topics"),
    (Destructive, &["influx"], "~drop |delete ", "deletes measurements"),
    (Destructive, &["restic", "borg", "kopia", "duplicity", "rclone", "mc", "s3cmd", "s5cmd"], "forget|prune|delete|deletefile|purge|rmdirs|sync|rb|rm|del|remove|remove-all|cleanup", "deletes backups or stored objects"),
    (Destructive, &["zfs", "zpool", "btrfs", "lvm"], "destroy|rollback|labelclear|detach|remove", "destroys file systems"),
    (Destructive, &["btrfs"], "subvolume|device delete|remove", "destroys a subvolume"),
];
