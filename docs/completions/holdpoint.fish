# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_holdpoint_global_optspecs
    string join \n h/help V/version
end

function __fish_holdpoint_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_holdpoint_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_holdpoint_using_subcommand
    set -l cmd (__fish_holdpoint_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c holdpoint -n "__fish_holdpoint_needs_command" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "run" -d 'Run a command inside the sandbox, once policy, hooks and (where the policy says so) a person let it'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "bundle" -d 'Write the sandbox of a command as an OCI bundle, for runc or crun to run. Runs nothing'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "session" -d 'Keep a sandbox alive and run one command after the other in it, each judged as by `run`'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "apply" -d 'Apply a unified diff to the workspace: all of it or nothing'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "check" -d 'Say what would happen to a command, and why. Runs nothing'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "explain" -d 'Print the policy in force, and where each line of it was written'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "serve" -d 'Serve the approval page until stopped'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "pair" -d 'Print a new one-time link that connects a browser to the running server'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "holds" -d 'List what waits for a decision'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "approve" -d 'Approve a hold, naming the digest of what was shown'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "deny" -d 'Deny a hold; the reason is handed to whoever asked'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "agents-md" -d 'Print the AGENTS.md text that applies to a directory'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "doctor" -d 'Say what this machine can enforce, what is missing and what to do about it'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c holdpoint -n "__fish_holdpoint_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l hold-timeout -d 'How long a hold waits for a decision, such as 90s or 1h' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand run" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l allow-missing -d 'Write the bundle although engines lack this protection; may be given more than once, or as a list with commas' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand bundle" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "start" -d 'Start a session in the background and print its name'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "run" -d 'Run a command in a session, once policy, hooks and (where the policy says so) a person let it'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "list" -d 'List the sessions that live'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "stop" -d 'End sessions, and everything that runs in them'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "keep" -d 'Keep a session: what `start` runs in the background. Its terms come on standard input'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and not __fish_seen_subcommand_from start run list stop keep help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l name -d 'What to call it [default: after the workspace]' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l idle-timeout -d 'End it when nobody has used it for this long' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l hold-timeout -d 'How long a hold of what a command executes (`exec_guard`) waits for a decision, such as 90s or 1h' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from start" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l hold-timeout -d 'How long a hold waits for a decision, such as 90s or 1h' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l may-read -d 'Let it read and execute this and the system, and nothing else; may be given more than once' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l may-write -d 'Let it write this and nothing else; may be given more than once' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l cpu-time -d 'The processor time of each of its processes, such as 30s' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l open-files -d 'The open files of each of its processes' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l file-size -d 'The size of each file it writes, such as 100MiB' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -l private-tmp -d 'Give it a /tmp and a /var/tmp of its own, empty and gone when it ends'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from run" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from list" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from stop" -l all -d 'Stop all of them'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from stop" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from stop" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from keep" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "start" -d 'Start a session in the background and print its name'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "run" -d 'Run a command in a session, once policy, hooks and (where the policy says so) a person let it'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the sessions that live'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "stop" -d 'End sessions, and everything that runs in them'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "keep" -d 'Keep a session: what `start` runs in the background. Its terms come on standard input'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand session; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l hold-timeout -d 'How long a hold waits for a decision, such as 90s or 1h' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand apply" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand check" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand explain" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand serve" -l listen -d 'The loopback address and port of the page; port 0 takes any free one' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand serve" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand serve" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand serve" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand pair" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand pair" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand pair" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand holds" -l all -d 'List those that are closed as well'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand holds" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand holds" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand holds" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand approve" -l digest -d 'The digest of what you saw, or its first 12 digits or more; without it you are shown the plan and asked' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand approve" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand approve" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand approve" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand deny" -l reason -d 'Why, for whoever asked' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand deny" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand deny" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand deny" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand agents-md" -l max-bytes -d 'The most bytes to print; files that do not fit whole are named on standard error' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand agents-md" -l strict -d 'Fail when a file does not fit'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand agents-md" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand agents-md" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand agents-md" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l config -d 'Use this configuration file in place of the user\'s own' -r -F
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l profile -d 'The profile to use' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l workspace -d 'The directory that may be worked in [default: the git root, else the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l sandbox -d 'How far the sandbox is closed' -r -f -a "read-only\t''
workspace-write\t''
workspace-write-and-net\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l approval -d 'What waits for a person' -r -f -a "suggest\t''
auto-edit\t''
full-auto\t''"
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l deny-read -d 'Deny reading what matches; may be given more than once. `!GLOB` excepts from those given before it' -r
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -l json -d 'Print one machine-readable result on standard output'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand completions" -s h -l help -d 'Print help'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand completions" -s V -l version -d 'Print version'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "run" -d 'Run a command inside the sandbox, once policy, hooks and (where the policy says so) a person let it'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "bundle" -d 'Write the sandbox of a command as an OCI bundle, for runc or crun to run. Runs nothing'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "session" -d 'Keep a sandbox alive and run one command after the other in it, each judged as by `run`'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "apply" -d 'Apply a unified diff to the workspace: all of it or nothing'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "check" -d 'Say what would happen to a command, and why. Runs nothing'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "explain" -d 'Print the policy in force, and where each line of it was written'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "serve" -d 'Serve the approval page until stopped'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "pair" -d 'Print a new one-time link that connects a browser to the running server'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "holds" -d 'List what waits for a decision'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "approve" -d 'Approve a hold, naming the digest of what was shown'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "deny" -d 'Deny a hold; the reason is handed to whoever asked'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "agents-md" -d 'Print the AGENTS.md text that applies to a directory'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "doctor" -d 'Say what this machine can enforce, what is missing and what to do about it'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "completions" -d 'Print the completions for a shell'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and not __fish_seen_subcommand_from run bundle session apply check explain serve pair holds approve deny agents-md doctor completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and __fish_seen_subcommand_from session" -f -a "start" -d 'Start a session in the background and print its name'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and __fish_seen_subcommand_from session" -f -a "run" -d 'Run a command in a session, once policy, hooks and (where the policy says so) a person let it'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and __fish_seen_subcommand_from session" -f -a "list" -d 'List the sessions that live'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and __fish_seen_subcommand_from session" -f -a "stop" -d 'End sessions, and everything that runs in them'
complete -c holdpoint -n "__fish_holdpoint_using_subcommand help; and __fish_seen_subcommand_from session" -f -a "keep" -d 'Keep a session: what `start` runs in the background. Its terms come on standard input'
