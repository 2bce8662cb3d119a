//! Implements `rolectl man`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::Failure;

/// Write the man pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl man ~/.local/share/man/man1 && man rolectl-unlock

Exit codes: 0 written, 1 the folder is not there or cannot be written, 2 wrong usage.")]
pub struct Man {
    /// The folder, which must be there
    folder: PathBuf,
}

/// Environment variables, and what they are for.
const ENVIRONMENT: [(&str, &str); 13] = [
    (
        "KUBECONFIG",
        "Kubeconfigs, separated by colons, if --kubeconfig is not given.",
    ),
    (
        "ROLECTL_NAMESPACE",
        "Namespace of the controller, if --controller-namespace is not given.",
    ),
    (
        "ROLECTL_CLUSTER_NAME",
        "Name of the cluster in owner tags, if --cluster-name is not given.",
    ),
    ("AWS_PROFILE", "Profile with your key, if --profile is not given."),
    (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        "Your key, in place of a profile.",
    ),
    (
        "AWS_MFA_SERIAL",
        "Serial number or ARN of your MFA device, if --serial is not given.",
    ),
    ("AWS_REGION", "Region of STS, if the MfaSession has none."),
    (
        "AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE",
        "In place of ~/.aws/config and ~/.aws/credentials.",
    ),
    (
        "AWS_CA_BUNDLE, SSL_CERT_FILE",
        "Certificates of the authorities that requests to AWS trust.",
    ),
    ("AWS_ENDPOINT_URL", "URL in place of the endpoints of AWS."),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "Proxy for requests, and the hosts that need none; in upper or lower case.",
    ),
    ("NO_COLOR", "Prints no colours if it is set."),
    (
        "XDG_CACHE_HOME",
        "Folder of the kept sessions, in place of ~/.cache.",
    ),
];

/// Files, and what they are for.
const FILES: [(&str, &str); 4] = [
    ("~/.kube/config", "Kubeconfig, if KUBECONFIG is not set."),
    ("~/.aws/config", "Profiles, with mfa_serial and region."),
    ("~/.aws/credentials", "Keys of profiles."),
    (
        "~/.cache/rolectl/sessions",
        "Sessions that are kept until they end, each in a file that only you can read. `rolectl lock` deletes them.",
    ),
];

impl Man {
    pub fn run(&self, command: Command) -> Result<(), Failure> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let verbs: Vec<String> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| format!("rolectl-{}", verb.get_name()))
            .collect();
        write(&command, &verbs, &self.folder).map_err(|e| {
            Failure::new(
                format!("could not write man pages into {}: {e}", self.folder.display()),
                "give a folder that is there and that you may write",
            )
        })
    }
}

/// Writes the page of a command, and the pages of the commands below it.
fn write(command: &Command, verbs: &[String], folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, verbs, folder)?;
    }
    let page = Page::new(command.clone());
    let mut file = File::create(folder.join(page.get_filename()))?;
    file.write_all(&text(command, verbs)?)?;
    file.flush()
}

/// Returns the page of a command. The sections are in the order of man-pages(7).
fn text(command: &Command, verbs: &[String]) -> std::io::Result<Vec<u8>> {
    let page = Page::new(command.clone());
    let mut text = vec![];
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        page.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
        page.render_extra_section(&mut text)?;
    }
    let mut more = Roff::new();
    definitions(&mut more, "ENVIRONMENT", &ENVIRONMENT);
    definitions(&mut more, "FILES", &FILES);
    let name = page.get_filename();
    let others = ["rolectl"].into_iter().chain(verbs.iter().map(String::as_str));
    let mut see: Vec<String> = others
        .filter(|other| format!("{other}.1") != name)
        .map(|other| format!("{other}(1)"))
        .collect();
    see.extend(["kubectl(1)".to_owned(), "aws(1)".to_owned()]);
    more.control("SH", ["SEE ALSO"]);
    more.text([roman(see.join(", "))]);
    more.to_writer(&mut text)?;
    page.render_version_section(&mut text)?;
    Ok(text)
}

/// Adds a section that explains words.
fn definitions(to: &mut Roff, title: &str, all: &[(&str, &str)]) {
    to.control("SH", [title]);
    for (word, meaning) in all {
        to.control("TP", []);
        to.text([bold(*word)]);
        to.text([roman(*meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command;

    /// Returns the names of environment variables that flags are read from.
    fn variables(command: &Command) -> BTreeSet<String> {
        let own = command
            .get_arguments()
            .filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()));
        let below = command.get_subcommands().flat_map(variables);
        own.chain(below).collect()
    }

    #[test]
    fn each_environment_variable_of_a_flag_is_in_the_pages() {
        let command = command();
        let all = variables(&command);
        assert!(all.len() >= 3, "{all:?}");
        let page = String::from_utf8(text(&command, &[]).unwrap()).unwrap();
        let (_, environment) = page.split_once(".SH ENVIRONMENT").unwrap();
        let (environment, _) = environment.split_once(".SH FILES").unwrap();
        for variable in all {
            assert!(environment.contains(&variable), "{variable}: {environment}");
        }
    }

    #[test]
    fn each_page_names_the_others_and_not_itself() {
        let mut command = command();
        command.build();
        let verbs = ["rolectl-get".to_owned(), "rolectl-plan".to_owned()];
        let get = command.find_subcommand("get").unwrap();
        let page = String::from_utf8(text(get, &verbs).unwrap()).unwrap();
        let (_, see) = page.split_once(".SH \"SEE ALSO\"").unwrap();
        assert!(
            see.contains("rolectl(1), rolectl\\-plan(1), kubectl(1), aws(1)"),
            "{see}"
        );
        assert!(!see.contains("rolectl\\-get(1)"), "{see}");
        assert!(page.contains("~/.cache/rolectl/sessions"), "{page}");
    }
}
