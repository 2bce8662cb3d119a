//! The page of `rolectl status`: counts first, then what is wrong, then what is right.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rolectl_crds::Reason;

use super::Overview;
use crate::objects::{AccountRow, RoleLine, SessionRow, coloured_reason};
use crate::output::{Cell, Layout, Row as _, cut, lines, printable};

/// Shown in place of a message that the line above has, too.
const SAME: &str = "as above";

impl Overview {
    /// Returns the lines of the page.
    pub fn lines(&self, now: Timestamp, layout: Layout) -> Vec<String> {
        let mut page = vec![];
        let sessions = self.sessions.iter().map(|session| session.phase.as_str());
        let accounts = self.accounts.iter().map(|account| account.reason.as_str());
        let roles = self.roles.iter().map(|role| role.reason.as_str());
        for (name, counts) in [
            ("Sessions", counts(sessions)),
            ("Accounts", counts(accounts)),
            ("Roles", counts(roles)),
        ] {
            page.push(format!("{name:10}{counts}"));
        }
        for refused in &self.not_shown {
            page.push(format!("Not shown: {}", printable(refused)));
        }
        page.extend(self.session_lines(layout));
        page.extend(self.account_lines(layout));
        page.extend(self.role_lines(layout));
        // The last line is visible below a long list.
        if let Some(warning) = self.controller.warning(now) {
            page.push(String::new());
            page.push(format!("Warning: {warning}. This page is as of then."));
        }
        page
    }

    fn session_lines(&self, layout: Layout) -> Vec<String> {
        let rows = self.sessions.iter().map(SessionRow::cells);
        section(&header("SESSION", SessionRow::COLUMNS), rows.collect(), layout)
    }

    fn account_lines(&self, layout: Layout) -> Vec<String> {
        let mut accounts: Vec<_> = self.accounts.iter().collect();
        accounts.sort_by_key(|account| rank(&account.ready));
        let rows = accounts.into_iter().map(AccountRow::cells);
        section(&header("ACCOUNT", AccountRow::COLUMNS), rows.collect(), layout)
    }

    fn role_lines(&self, layout: Layout) -> Vec<String> {
        let mut roles: Vec<_> = self.roles.iter().collect();
        // Equal messages follow each other. Each is shown once.
        let order = |role: &&RoleLine| {
            let message = if role.ready == "True" {
                ""
            } else {
                role.message.as_str()
            };
            (rank(&role.ready), role.reason.clone(), message.to_owned())
        };
        roles.sort_by_cached_key(order);
        let mut above = "";
        let rows = roles.into_iter().map(|role| {
            let message = match role.message.as_str() {
                _ if role.ready == "True" => "",
                same if same == above => SAME,
                message => message,
            };
            if message != SAME {
                above = message;
            }
            vec![
                Cell::from(format!("{}/{}", role.namespace, role.name)),
                coloured_reason(&role.ready, &role.reason),
                Cell::from(&role.summary),
                Cell::from(message),
            ]
        });
        let rows: Vec<_> = rows.collect();
        section(&["ROLE", "STATE", "ACCOUNTS", "MESSAGE"], rows, layout)
    }
}

/// Returns the columns of a list with its kind in place of `NAME`.
fn header(kind: &'static str, columns: &[&'static str]) -> Vec<&'static str> {
    std::iter::once(kind)
        .chain(columns.iter().skip(1).copied())
        .collect()
}

/// Returns a table with an empty line in front, or nothing for a table without rows.
fn section(header: &[&str], rows: Vec<Vec<Cell>>, layout: Layout) -> Vec<String> {
    if rows.is_empty() {
        return vec![];
    }
    std::iter::once(String::new())
        .chain(lines(header, rows, layout))
        .collect()
}

/// The place of a condition's status: what is wrong comes first.
fn rank(ready: &str) -> u8 {
    match ready {
        "False" => 0,
        "True" => 2,
        _ => 1,
    }
}

/// Returns counts by state: `201: 181 in sync, 13 InvalidSpec, 7 AccountNotFound`.
fn counts<'a>(states: impl Iterator<Item = &'a str>) -> String {
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states {
        *by_state.entry(state).or_default() += 1;
    }
    let in_sync = Reason::InSync.as_str();
    let mut counts: Vec<(&str, usize)> = by_state.into_iter().collect();
    counts.sort_by_key(|(state, count)| (*state != in_sync, usize::MAX - count));
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let shown = counts.iter().map(|(state, count)| {
        let state = if *state == in_sync { "in sync" } else { state };
        format!("{count} {}", printable(state))
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        "none".to_owned()
    } else {
        format!("{total}: {}", shown.join(", "))
    }
}

/// Returns the lines that fit on a terminal of this height, with two lines for the time. The last one says how many are missing.
pub fn fitting(mut page: Vec<String>, height: Option<usize>) -> Vec<String> {
    let Some(room) = height.map(|height| height.saturating_sub(3).max(1)) else {
        return page;
    };
    if page.len() <= room {
        return page;
    }
    let missing = page.len() - (room - 1);
    page.truncate(room - 1);
    page.push(cut(
        &format!("... {missing} more lines. `rolectl status` shows all"),
        80,
    ));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Liveness;
    use crate::paint::Paint;
    use unicode_width::UnicodeWidthStr as _;

    fn role(name: String, reason: Reason, message: &str) -> RoleLine {
        let ready = if reason == Reason::InSync { "True" } else { "False" };
        RoleLine {
            namespace: "platform".to_owned(),
            name,
            ready: ready.to_owned(),
            summary: if reason == Reason::InSync { "2/2" } else { "0/2" }.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            accounts: vec![],
        }
    }

    /// 201 roles: 181 in sync, 13 with an invalid spec, 7 with an account that does not exist.
    fn fleet() -> Overview {
        let policy = "prod: account 222222222222: AttachRolePolicy: NoSuchEntity: Policy arn:aws:iam::aws:policy/ReadOnlyAcess does not exist or is not attachable";
        let roles = (0..201).map(|n| match n % 15 {
            3 if n < 190 => role(format!("role-{n:03}"), Reason::InvalidSpec, policy),
            7 if n < 100 => role(
                format!("role-{n:03}"),
                Reason::AccountNotFound,
                &format!("there is no AwsAccount prod-{}", n % 2),
            ),
            _ => role(format!("role-{n:03}"), Reason::InSync, "in sync in 2 accounts"),
        });
        let account = |name: &str, ready: &str, reason: &str, message: &str| AccountRow {
            name: name.to_owned(),
            account_id: "222222222222".to_owned(),
            partition: "aws".to_owned(),
            session: "main".to_owned(),
            ready: ready.to_owned(),
            reason: reason.to_owned(),
            managed: Some(12),
            drifted: Some(0),
            orphaned: None,
            last_sweep: None,
            message: message.to_owned(),
        };
        Overview {
            controller: Liveness {
                running: Some(false),
                last_seen: None,
            },
            sessions: vec![],
            accounts: vec![
                account("dev", "True", "InSync", "13 roles"),
                account(
                    "prod",
                    "False",
                    "AccessDenied",
                    "AssumeRole: AccessDenied: not authorized to perform sts:AssumeRole on the role",
                ),
            ],
            roles: roles.collect(),
            not_shown: vec![],
        }
    }

    #[test]
    fn two_hundred_roles_on_80_columns_show_counts_first_and_what_is_wrong_before_what_is_right() {
        let layout = Layout {
            width: Some(80),
            with_header: true,
            paint: Paint::none(),
        };
        let lines = fleet().lines(Timestamp::UNIX_EPOCH, layout);
        assert!(lines.iter().all(|line| line.width() <= 80));
        let first: Vec<&str> = lines.iter().take(33).map(String::as_str).collect();
        insta::assert_snapshot!(first.join("\n"));
        assert_eq!(lines.len(), 3 + 4 + 203 + 2);
        assert!(
            lines
                .last()
                .unwrap()
                .starts_with("Warning: no controller is running")
        );
    }

    #[test]
    fn a_page_that_is_higher_than_the_terminal_says_how_many_lines_are_missing() {
        let page = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(fitting(page(200), None).len(), 200);
        assert_eq!(fitting(page(21), Some(24)).len(), 21);
        let cut = fitting(page(200), Some(24));
        assert_eq!(cut.len(), 21);
        assert_eq!(cut[20], "... 180 more lines. `rolectl status` shows all");
    }
}
