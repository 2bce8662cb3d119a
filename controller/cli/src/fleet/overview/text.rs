//! Writes a plan for people, in the manner of Terraform.

use std::fmt::Write as _;

use rolectl_core::widening::VerdictKind;

use super::Overview;
use super::role_line::{Action, RoleLine};
use crate::output::{counted, printable};
use crate::paint::Paint;

/// How many lines about one change are shown.
const FOLDED: usize = 40;

impl Overview {
    /// Returns the changes of each account and role as text. Leaves out accounts and roles without any. Long documents are folded unless
    /// `full`.
    pub fn text(&self, paint: Paint, full: bool) -> String {
        let mut text = String::new();
        for account in &self.accounts {
            let quiet = account.failure.is_none() && account.roles.iter().all(RoleLine::is_quiet);
            if quiet {
                continue;
            }
            let _ = writeln!(
                text,
                "{}",
                paint.bold(&format!("account {} ({})", account.account, account.account_id))
            );
            if let Some(failure) = &account.failure {
                let _ = writeln!(text, "  {}", paint.red(&format!("! not read: {failure}")));
            }
            for role in account.roles.iter().filter(|role| !role.is_quiet()) {
                role.write(&mut text, paint, full);
            }
            text.push('\n');
        }
        for rollout in &self.rollouts {
            rollout.write(&mut text);
        }
        text
    }
}

impl RoleLine {
    /// Writes the role, its reason and its changes.
    fn write(&self, text: &mut String, paint: Paint, full: bool) {
        let (sign, what) = match self.action {
            Action::Change if self.is_enforced() => (
                '!',
                "is refused; managed policies that the account denies will be detached",
            ),
            Action::Create => ('+', "will be created"),
            Action::Change => ('~', "will be changed"),
            Action::Delete => ('-', "will be deleted"),
            Action::Release => ('~', "will be released: it stays in AWS without the owner tag"),
            Action::None => (' ', "is in sync"),
            Action::Absent => (' ', "does not exist in AWS: there is nothing to delete"),
            Action::Foreign => ('!', "is not owned by this IamRole and will not be deleted"),
            Action::Report => ('~', "differs; not corrected because spec.drift is Report"),
            Action::Refused => ('!', "is refused"),
        };
        let called = if self.role_name == self.name {
            String::new()
        } else {
            format!(" as {}", self.role_name)
        };
        let line = format!("{sign} role {}/{}{called} {what}", self.namespace, self.name);
        let _ = writeln!(text, "  {}", paint.by_sign(&line));
        match (self.reason, &self.message) {
            (Some(reason), Some(message)) => {
                let _ = writeln!(text, "      {reason}: {}", printable(message));
            }
            (None, Some(message)) => {
                let _ = writeln!(text, "      {}", printable(message));
            }
            (_, None) => {}
        }
        if self.needs_approval {
            let line = "the controller makes these changes only after `rolectl approve`";
            let _ = writeln!(text, "      {}", paint.yellow(line));
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(text, "      {}", printable(kept));
        }
        for change in &self.changes {
            let narrows = match change.verdict {
                VerdictKind::Narrows => " (narrows)",
                VerdictKind::Same | VerdictKind::Widens => "",
            };
            let line = format!("{}{narrows}", printable(&change.line));
            let _ = writeln!(text, "      {}", paint.by_sign(&line));
            for line in change.widening(full) {
                let _ = writeln!(text, "          {}", paint.yellow(&printable(&line)));
            }
            let shown = if full { usize::MAX } else { FOLDED };
            for detail in change.details.iter().take(shown) {
                let _ = writeln!(text, "          {}", paint.by_sign(&printable(detail)));
            }
            let more = change.details.len().saturating_sub(shown);
            if more > 0 {
                let _ = writeln!(
                    text,
                    "          … {}: --full shows them",
                    counted(more, "more line")
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use rolectl_core::policy::Document;
    use rolectl_core::role::change::Identity;
    use rolectl_core::role::{Change, DocumentDiff, ObservedDocument, ObservedRole};
    use rolectl_core::widening::{ManagedPolicies, Place, verdicts};

    use super::super::change_line::ChangeLine;
    use super::*;

    const PLACE: Place<'_> = Place {
        account_id: "222222222222",
        authority_tags: &[],
        policies: ManagedPolicies::NONE,
    };

    fn allow(sid: &str, actions: &Value) -> Document {
        let statement = json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": "*"});
        Document::from_value(&json!({"Version": "2012-10-17", "Statement": [statement]})).unwrap()
    }

    fn role(reader: Document) -> ObservedRole {
        let Identity { arn, role_id } = Identity {
            arn: "arn:aws:iam::222222222222:role/app".to_owned(),
            role_id: "AROA1".to_owned(),
        };
        ObservedRole {
            name: "app".to_owned(),
            arn,
            role_id,
            path: "/".to_owned(),
            description: String::new(),
            max_session_duration: 3600,
            trust: ObservedDocument::Unreadable(String::new()),
            managed_policies: BTreeSet::from(["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()]),
            inline_policies: BTreeMap::from([("reader".to_owned(), ObservedDocument::Parsed(reader))]),
            permissions_boundary: None,
            tags: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    fn line(observed: &ObservedRole, changes: &[Change]) -> RoleLine {
        let judged = changes.iter().zip(verdicts(Some(observed), changes, PLACE));
        RoleLine {
            namespace: "ns".to_owned(),
            name: "app".to_owned(),
            role_name: "app".to_owned(),
            action: Action::Change,
            changes: judged
                .map(|(change, verdict)| ChangeLine::of(change, &verdict, "app", Some(observed)))
                .collect(),
            reason: None,
            message: None,
            kept: None,
            needs_approval: false,
        }
    }

    fn put(observed: &ObservedRole, document: Document) -> Change {
        let diff = DocumentDiff::between(&observed.inline_policies["reader"], &document);
        Change::PutInlinePolicy("reader".to_owned(), document, diff)
    }

    fn text(line: &RoleLine, full: bool) -> String {
        let mut text = String::new();
        line.write(&mut text, Paint::none(), full);
        text
    }

    #[test]
    fn a_change_shows_whether_it_narrows_or_what_it_widens() {
        let observed = role(allow("Read", &json!(["s3:GetObject", "s3:PutObject"])));
        let detach = Change::DetachPolicy("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
        let edited = put(
            &observed,
            allow("Read", &json!(["s3:GetObject", "s3:DeleteObject"])),
        );
        let tag = Change::Tag(BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        let line = line(&observed, &[tag, edited, detach]);
        assert_eq!(
            text(&line, false),
            "  ~ role ns/app will be changed
      + tags team=a
      ~ inline policy reader
          widens: inline policy reader, statement Read: s3:DeleteObject on *: no statement of the present role is shown to allow it
          ~ statement Read
              + Action s3:DeleteObject
              - Action s3:PutObject
      - managed policy arn:aws:iam::aws:policy/ReadOnlyAccess (narrows)
"
        );
        assert_eq!(line.verdict(), VerdictKind::Widens);
        let json = serde_json::to_value(&line.changes).unwrap();
        let verdicts: Vec<&Value> = json.as_array().unwrap().iter().map(|c| &c["verdict"]).collect();
        assert_eq!(verdicts, ["Same", "Widens", "Narrows"]);
        assert_eq!(json[1]["widens"][0]["action"], "s3:DeleteObject");
        assert_eq!(
            (json[1]["widensCount"].clone(), json[0].get("widens")),
            (json!(1), None)
        );
        let reported = RoleLine {
            action: Action::Report,
            ..line
        };
        assert_eq!(
            reported.verdict(),
            VerdictKind::Same,
            "what is only reported is not made"
        );
    }

    #[test]
    fn a_long_widening_is_counted_and_what_it_quotes_moves_no_cursor() {
        let observed = role(allow("Read", &json!("s3:GetObject")));
        let actions: Vec<String> = (0..60).map(|n| format!("ec2:Start{n}\u{1b}[2K")).collect();
        let line = line(&observed, &[put(&observed, allow("Read", &json!(actions)))]);
        let widens = |full| {
            let text = text(&line, full);
            assert!(!text.contains('\u{1b}'), "{text}");
            let lines = text.lines().filter(|line| line.contains("widens: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(widens(false).len(), 4);
        assert_eq!(
            widens(false).last().map(|line| line.trim()),
            Some("widens: and 57 more")
        );
        assert!(widens(true).len() > 10);
    }

    #[test]
    fn the_last_line_counts_what_widens_and_what_narrows() {
        use super::super::summary::{FailOn, Summary};
        for (widen, narrow, expected) in [
            (0, 0, ""),
            (0, 1, "1 role narrows.\n"),
            (0, 2, "2 roles narrow.\n"),
            (1, 0, "1 role widens.\n"),
            (2, 1, "2 roles widen, 1 narrows.\n"),
            (1, 2, "1 role widens, 2 narrow.\n"),
        ] {
            let summary = Summary {
                widen,
                narrow,
                ..Summary::default()
            };
            let expected = format!("Plan: 0 to create, 0 to change, 0 to delete.\n{expected}");
            assert_eq!(summary.lines(), expected);
            assert_eq!(summary.has(Some(FailOn::Widening)), widen > 0);
            assert!(!summary.has(Some(FailOn::WideningExisting)) && !summary.has(None));
        }
    }
}
