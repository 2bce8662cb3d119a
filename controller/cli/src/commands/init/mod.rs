//! Implements `rolectl init`.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::stdio::{eprintln, print, println};
use crate::values::{account_id, is_dns, namespace};

/// Write commented files to start with: a session, an account and a role
///
/// Writes session.yaml (MfaSession), account.yaml (AwsAccount) and role.yaml (IamRole). Each field has a comment with its meaning and
/// its default. No existing file is overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl init --main-account 111111111111 --account-id 222222222222
  rolectl init roles/ --namespace platform --name deployer
  rolectl init --print | kubectl apply --dry-run=server -f -

Exit codes: 0 written, 1 a file exists or cannot be written, 2 wrong usage.")]
pub struct Init {
    /// The folder, which is made if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The main account, in which you have a user with MFA. Default: a placeholder
    #[arg(long, value_name = "ID", value_parser = account_id)]
    main_account: Option<String>,
    /// The account in which the role is made. Default: a placeholder
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
    /// Namespace of the IamRole
    #[arg(long, short, value_parser = namespace, default_value = "default")]
    namespace: String,
    /// Name of the role
    #[arg(long, value_parser = role_name, default_value = "app")]
    name: String,
    /// Overwrite existing files
    #[arg(long, conflicts_with = "print")]
    force: bool,
    /// Print the files and write none
    #[arg(long)]
    print: bool,
    /// `-` is --print
    #[arg(long, short, value_name = "-", value_parser = ["-"], conflicts_with = "force")]
    output: Option<String>,
}

/// Parses the name of an `IamRole` that is also a name in IAM.
fn role_name(text: &str) -> Result<String, String> {
    if is_dns(text, 64, "-.") {
        Ok(text.to_owned())
    } else {
        Err("a role has 1 to 64 lower-case letters, digits and characters of -.".to_owned())
    }
}

/// The main account in the templates.
const MAIN_ACCOUNT: &str = "111111111111";
/// The target account in the templates.
const TARGET_ACCOUNT: &str = "222222222222";

impl Init {
    pub fn run(&self) -> Result<(), Failure> {
        // The parser of the flag has not seen one in front of the verb, where `-n` is a flag of all verbs.
        namespace(&self.namespace).map_err(|error| {
            Failure::new(format!("--namespace {}: {error}", self.namespace), "correct it").usage()
        })?;
        let files = self.files();
        if self.print || self.output.is_some() {
            for (_, text) in files {
                print!("---\n{text}");
            }
            return Ok(());
        }
        let existing: Vec<String> = files
            .iter()
            .map(|(name, _)| self.folder.join(name))
            .filter(|path| !self.force && path.symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect();
        if !existing.is_empty() {
            return Err(Failure::new(
                format!("{} exists already. Nothing was written", existing.join(", ")),
                "give another folder, print the files with --print, or overwrite with --force",
            ));
        }
        std::fs::create_dir_all(&self.folder).map_err(|e| could_not_write(&self.folder, &e))?;
        for (name, text) in &files {
            let path = self.folder.join(name);
            self.write(&path, text).map_err(|e| could_not_write(&path, &e))?;
            println!("Wrote {}", path.display());
        }
        self.print_next();
        Ok(())
    }

    /// Returns each file's name and text.
    fn files(&self) -> [(&'static str, String); 3] {
        let main = self.main_account.as_deref().unwrap_or(MAIN_ACCOUNT);
        let target = self.account_id.as_deref().unwrap_or(TARGET_ACCOUNT);
        [
            (
                "session.yaml",
                include_str!("session.yaml").replace(MAIN_ACCOUNT, main),
            ),
            (
                "account.yaml",
                include_str!("account.yaml")
                    .replace(TARGET_ACCOUNT, target)
                    .replace(
                        "names: [default]",
                        &format!("names: [{}]", quoted(&self.namespace)),
                    ),
            ),
            (
                "role.yaml",
                include_str!("role.yaml")
                    .replace("name: app\n", &format!("name: {}\n", quoted(&self.name)))
                    .replace("roleName: app\n", &format!("roleName: {}\n", quoted(&self.name)))
                    .replace(
                        "namespace: default\n",
                        &format!("namespace: {}\n", quoted(&self.namespace)),
                    ),
            ),
        ]
    }

    fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        let mut file = if self.force {
            // A link in a repository of others could lead anywhere.
            if path.is_symlink() {
                return Err(std::io::Error::other("it is a link"));
            }
            File::create(path)?
        } else {
            File::create_new(path)?
        };
        file.write_all(text.as_bytes())
    }

    fn print_next(&self) {
        for (given, placeholder, what, file) in [
            (
                &self.main_account,
                MAIN_ACCOUNT,
                "your main account",
                "session.yaml",
            ),
            (
                &self.account_id,
                TARGET_ACCOUNT,
                "the account of the role",
                "account.yaml",
            ),
        ] {
            if given.is_none() {
                eprintln!("Note: replace the placeholder {placeholder} in {file} by {what}");
            }
        }
        let folder = self.folder.display();
        let main = self.main_account.as_deref().unwrap_or(MAIN_ACCOUNT);
        println!(
            "
Next:
  rolectl lint {folder}
  rolectl bootstrap --main-account {main}    the role that rolectl assumes in the account
  kubectl apply -f {folder}
  rolectl unlock"
        );
    }
}

/// Words that are no texts in YAML 1.1, which some tools read.
const NO_TEXTS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Returns a name as every reader of YAML reads it as a text: in quotes if it may be a number or a truth value.
fn quoted(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && !NO_TEXTS.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

fn could_not_write(path: &Path, error: &std::io::Error) -> Failure {
    let next = if error.kind() == ErrorKind::AlreadyExists {
        "give another folder, or overwrite with --force"
    } else {
        "give a folder that can be written"
    };
    Failure::new(format!("could not write {}: {error}", path.display()), next)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::lint;
    use crate::files::documents_in;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        init: Init,
    }

    fn init(line: &[&str]) -> Init {
        Line::try_parse_from(line).unwrap().init
    }

    /// Returns what `rolectl lint` finds in the files, after `change`.
    fn findings(init: &Init, change: impl Fn(&str) -> String) -> Vec<String> {
        let files = init.files();
        let documents = files
            .iter()
            .flat_map(|(name, text)| documents_in(name, &change(text)));
        lint::messages(documents.collect())
    }

    const FLAGS: [&[&str]; 4] = [
        &[],
        &["--main-account", "333333333333", "--account-id", "444444444444"],
        &["--namespace", "platform", "--name", "ops.deployer-1"],
        &["--namespace", "0", "--name", "true"],
    ];

    #[test]
    fn the_files_pass_the_lint_whatever_the_flags() {
        for flags in FLAGS {
            let found = findings(&init(flags), str::to_owned);
            assert_eq!(found, Vec::<String>::new(), "{flags:?}");
        }
    }

    #[test]
    fn the_flags_are_in_the_files() {
        let [session, account, role] = init(&[
            "--main-account",
            "333333333333",
            "--account-id",
            "444444444444",
            "--namespace",
            "platform",
            "--name",
            "deployer",
        ])
        .files()
        .map(|(_, text)| text);
        assert!(session.contains("accountId: \"333333333333\"") && !session.contains(MAIN_ACCOUNT));
        assert!(account.contains("accountId: \"444444444444\"") && account.contains("names: [platform]"));
        assert!(role.contains("  name: deployer\n  #") && role.contains("namespace: platform\n"));
    }

    /// Removes the mark of each field that is a comment. Explanations have a space after it.
    fn with_all_fields(text: &str) -> String {
        let lines = text.lines().map(|line| {
            let field = line
                .trim_start()
                .strip_prefix('#')
                .filter(|f| !f.starts_with(' '));
            field.map_or_else(|| line.to_owned(), |_| line.replacen('#', "", 1))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_field_that_is_a_comment_is_valid_without_its_mark() {
        let init = init(&[]);
        assert_eq!(findings(&init, with_all_fields), Vec::<String>::new());
        for (name, text) in init.files() {
            assert_ne!(with_all_fields(&text), text, "{name} has no such field");
        }
    }

    #[test]
    fn each_field_of_a_spec_has_a_comment_with_its_default_or_is_required() {
        for (name, text) in init(&[]).files() {
            let lines: Vec<&str> = text.lines().skip_while(|line| *line != "spec:").collect();
            let mut fields = 0;
            for pair in lines.windows(2) {
                let field = pair[1].strip_prefix("  ").unwrap_or_default();
                if field.starts_with([' ', '-']) || field.starts_with("# ") {
                    continue;
                }
                fields += 1;
                assert!(
                    pair[0].starts_with("  # ")
                        && (pair[0].contains("Default: ") || pair[0].contains("Required")),
                    "{name}: {}",
                    pair[1]
                );
            }
            assert!(fields > 3, "{name}");
        }
    }

    #[test]
    fn a_second_run_overwrites_nothing_and_force_does() {
        let folder = std::env::temp_dir().join(format!("rolectl-init-{}", std::process::id()));
        let path = folder.display().to_string();
        let _ = std::fs::remove_dir_all(&folder);
        init(&[&path]).run().unwrap();
        std::fs::write(folder.join("role.yaml"), "mine").unwrap();
        std::fs::remove_file(folder.join("session.yaml")).unwrap();

        let error = init(&[&path, "--name", "other"]).run().unwrap_err();
        assert!(error.what().contains("role.yaml exists already"), "{error}");
        assert_eq!(error.code(), 1);
        assert_eq!(std::fs::read_to_string(folder.join("role.yaml")).unwrap(), "mine");
        assert!(!folder.join("session.yaml").exists());

        init(&[&path, "--force", "--name", "other"]).run().unwrap();
        let role = std::fs::read_to_string(folder.join("role.yaml")).unwrap();
        assert!(role.contains("  name: other\n"), "{role}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_value_that_yaml_or_aws_would_not_take_is_refused() {
        for line in [
            &["--main-account", "1"][..],
            &["--account-id", "11111111111a"],
            &["--namespace", "a b"],
            &["--namespace", "A"],
            &["--name", "x\ny: z"],
            &["--name", ""],
            &["--output", "json"],
        ] {
            let error = Line::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
