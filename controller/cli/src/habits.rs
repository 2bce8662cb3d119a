//! Understands, or answers with the right words, what users of kubectl, Terraform, Flux and aws-vault type by habit.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Command;

/// Verbs of other tools, each with what to type instead.
const INSTEAD: [(&[&str], &str); 20] = [
    (&["login", "open"], "rolectl unlock --mfa CODE"),
    (&["logout", "clear", "close"], "rolectl lock"),
    (&["list", "ls"], "rolectl get roles, or rolectl get sessions"),
    (
        &["delete", "rm", "remove"],
        "kubectl delete iamrole NAME -n NAMESPACE for an object of the cluster, or rolectl destroy PATH for roles of files",
    ),
    (
        &["create", "new"],
        "rolectl init for files to start from, then kubectl apply -f FILE",
    ),
    (
        &["edit", "patch", "set", "label", "annotate"],
        "kubectl edit iamrole NAME -n NAMESPACE",
    ),
    (
        &["logs", "log"],
        "kubectl logs -n rolectl-system deployment/rolectl-controller, or rolectl events role/NAME",
    ),
    (
        &["validate", "check", "vet"],
        "rolectl lint PATH for files, or rolectl doctor for this machine and the cluster",
    ),
    (&["fmt", "format"], "rolectl policy fmt FILE"),
    (&["refresh", "sync"], "rolectl reconcile role/NAME --wait"),
    (&["show", "output"], "rolectl describe role/NAME"),
    (
        &["state", "taint", "untaint"],
        "rolectl get roles: AWS itself is the state, and there is no state file",
    ),
    (
        &["wait"],
        "rolectl reconcile role/NAME --wait, or kubectl wait --for=condition=Ready iamrole/NAME",
    ),
    (&["pause", "cordon"], "rolectl suspend role/NAME"),
    (&["unpause", "uncordon"], "rolectl resume role/NAME"),
    (
        &["export", "env"],
        "rolectl exec --account NAME -- COMMAND, or rolectl credential-process in ~/.aws/config",
    ),
    (
        &["console"],
        "rolectl exec --account NAME -- COMMAND: sessions for the AWS console are not offered",
    ),
    (
        &["add", "rotate", "configure"],
        "aws configure for your key, and rolectl whoami to see which is in use",
    ),
    (
        &["install", "upgrade", "uninstall"],
        "helm or kubectl: docs/install.md",
    ),
    (
        &["config", "use-context", "ctx", "workspace"],
        "kubectl config use-context NAME, or give --context NAME",
    ),
];

/// Returns what to type instead of a verb of another tool.
pub fn instead(verb: &str) -> Option<&'static str> {
    let known = INSTEAD.iter().find(|(verbs, _)| verbs.contains(&verb));
    known.map(|(_, instead)| *instead)
}

/// Returns the arguments with two dashes in front of long flags that have one, as Terraform writes them: `-auto-approve`. Arguments after
/// `--` are of another program.
pub fn with_two_dashes(args: impl Iterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let mut flags = BTreeSet::new();
    long_flags(command, &mut flags);
    let mut is_own = true;
    let one = |arg: OsString| {
        is_own &= arg != "--";
        let name = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
        let name = name.map(|name| name.split('=').next().unwrap_or(name));
        match name {
            // `-n` and `-ojson` are short flags.
            Some(name) if is_own && name.len() > 2 && flags.contains(name) => {
                let mut long = OsString::from("-");
                long.push(&arg);
                long
            }
            _ => arg,
        }
    };
    args.map(one).collect()
}

fn long_flags(command: &Command, flags: &mut BTreeSet<String>) {
    for arg in command.get_arguments() {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        flags.extend(arg.get_long().into_iter().chain(aliases).map(str::to_owned));
    }
    for below in command.get_subcommands() {
        long_flags(below, flags);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_with_one_dash_are_understood_up_to_another_programs() {
        let given = [
            "rolectl",
            "apply",
            "-auto-approve",
            "-n",
            "team",
            "-ojson",
            "-output=json",
            "-",
            "role.yaml",
            "--",
            "-output",
            "text",
        ];
        let wanted = [
            "rolectl",
            "apply",
            "--auto-approve",
            "-n",
            "team",
            "-ojson",
            "--output=json",
            "-",
            "role.yaml",
            "--",
            "-output",
            "text",
        ];
        let args = with_two_dashes(given.iter().map(OsString::from), &crate::command());
        assert_eq!(args, wanted.map(OsString::from));
    }

    #[test]
    fn no_verb_of_another_tool_is_one_of_ours() {
        let command = crate::command();
        for (verbs, instead) in INSTEAD {
            for verb in verbs {
                assert!(command.find_subcommand(verb).is_none(), "{verb}");
            }
            let ours = instead.split("rolectl ").skip(1);
            for verb in ours.filter_map(|rest| rest.split([' ', ',', ':']).next()) {
                assert!(command.find_subcommand(verb).is_some(), "{instead}: {verb}");
            }
        }
    }
}
