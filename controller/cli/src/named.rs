//! An object that is named on the command line, as `role/app` or `role app`.

use clap::Args;

use crate::failure::Failure;
use crate::values::is_dns;

/// An object that is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// An `IamRole` of the namespace in use.
    Role(String),
    /// An `AwsAccount`.
    Account(String),
    /// An `MfaSession`.
    Session(String),
}

impl Named {
    /// Returns the kind as the API has it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Role(_) => "IamRole",
            Self::Account(_) => "AwsAccount",
            Self::Session(_) => "MfaSession",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Role(name) | Self::Account(name) | Self::Session(name) => name,
        }
    }
}

/// The argument that names one object.
#[derive(Debug, Args)]
pub struct ObjectArgs {
    /// role/NAME, account/NAME or session/NAME, of the kinds that the verb is about; also as two words
    #[arg(required = true, num_args = 1..=2, value_name = "OBJECT")]
    words: Vec<String>,
}

impl ObjectArgs {
    /// Returns the object that is named.
    pub fn named(&self) -> Result<Named, Failure> {
        let words: Vec<&str> = match self.words.as_slice() {
            [one] => one.splitn(2, '/').collect(),
            words => words.iter().map(String::as_str).collect(),
        };
        let named = match words.as_slice() {
            // A name with other characters could change the request that it becomes a part of.
            [kind, name] if is_dns(name, 253, "-.") => named(&kind.to_ascii_lowercase(), name),
            _ => None,
        };
        named.ok_or_else(|| {
            Failure::new(
                format!("{:?} names no object", self.words.join(" ")),
                "write role/NAME, account/NAME or session/NAME",
            )
            .usage()
        })
    }
}

/// Returns the object of a kind, by the names that kubectl accepts for it: singular, plural, short, and with the group.
fn named(kind: &str, name: &str) -> Option<Named> {
    let kind = kind
        .strip_suffix(rolectl_crds::GROUP)
        .map_or(kind, |kind| kind.trim_end_matches('.'));
    let name = name.to_owned();
    match kind {
        "role" | "roles" | "iamrole" | "iamroles" | "iamr" => Some(Named::Role(name)),
        "account" | "accounts" | "awsaccount" | "awsaccounts" | "awsa" => Some(Named::Account(name)),
        "session" | "sessions" | "mfasession" | "mfasessions" | "mfas" => Some(Named::Session(name)),
        _ => None,
    }
}

/// Parses the name of a role: `role/app`, or `app` where only roles can be meant.
pub fn named_role(text: &str) -> Result<String, String> {
    let (kind, name) = text.split_once('/').unwrap_or(("role", text));
    match named(&kind.to_ascii_lowercase(), name) {
        Some(Named::Role(name)) if is_dns(&name, 253, "-.") => Ok(name),
        _ => Err("write role/NAME".to_owned()),
    }
}

/// Returns the kind that a word names.
pub fn kind(word: &str) -> Option<&'static str> {
    named(&word.to_ascii_lowercase(), "").map(|named| named.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_one_word_or_two_as_kubectl_takes_them() {
        let named = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            ObjectArgs { words }.named().ok()
        };
        let app = || Some(Named::Role("app".to_owned()));
        for (words, object) in [
            (&["role/app"][..], app()),
            (&["role", "app"], app()),
            (&["iamroles.iam.rolectl.dev/app"], app()),
            (&["IamRole", "app"], app()),
            (&["account/prod"], Some(Named::Account("prod".to_owned()))),
            (&["mfas", "main"], Some(Named::Session("main".to_owned()))),
            (&["app"], None),
            (&["role/"], None),
            (&["role/a,b=c"], None),
            (&["role/a/b"], None),
            (&["pod", "app"], None),
        ] {
            assert_eq!(named(words), object, "{words:?}");
        }
    }
}
