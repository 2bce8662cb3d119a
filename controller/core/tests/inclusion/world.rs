//! A small world of requests, and AWS's
//! [evaluation logic](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html) for each of them.
//!
//! Where AWS's documents leave a question open, such as how far a `*` in an ARN reaches, each world has its own answer.

use std::net::IpAddr;

use crate::documents::{Condition, Rule, Side, Who};
use crate::random::Random;

/// The account of the role.
pub const OWN: &str = "111111111111";

/// A policy without a document, as the comparison is given it.
pub struct Hidden {
    pub name: &'static str,
    pub may_allow: bool,
    pub may_deny: bool,
}

pub const UNREAD: [Hidden; 3] = [
    Hidden {
        name: "both",
        may_allow: true,
        may_deny: true,
    },
    Hidden {
        name: "allows",
        may_allow: true,
        may_deny: false,
    },
    Hidden {
        name: "denies",
        may_allow: false,
        may_deny: true,
    },
];

pub const PRINCIPALS: [(&str, &str); 14] = [
    ("AWS", "111111111111"),
    ("AWS", "arn:aws:iam::111111111111:user/u"),
    ("AWS", "arn:aws:iam::111111111111:role/r"),
    ("AWS", "222222222222"),
    ("AWS", "arn:aws:iam::222222222222:role/a"),
    ("AWS", "arn:aws:iam::222222222222:role/b"),
    ("AWS", "arn:aws:sts::222222222222:assumed-role/a/s"),
    ("AWS", "333333333333"),
    ("AWS", "*"),
    ("AWS", "AROAEXAMPLEEXAMPLE12"),
    ("Service", "ec2.amazonaws.com"),
    ("Service", "states.amazonaws.com"),
    ("Service", "states.eu-west-1.amazonaws.com"),
    ("Federated", "arn:aws:iam::111111111111:oidc-provider/h"),
];

/// A caller: its names with their kinds, and its account.
struct Caller {
    kind: &'static str,
    names: &'static [&'static str],
    account: &'static str,
    /// The caller's own policies allow the call.
    is_permitted: bool,
}

const CALLERS: [Caller; 12] = {
    const fn aws(names: &'static [&'static str], account: &'static str, is_permitted: bool) -> Caller {
        Caller {
            kind: "AWS",
            names,
            account,
            is_permitted,
        }
    }
    const fn other(kind: &'static str, names: &'static [&'static str]) -> Caller {
        Caller {
            kind,
            names,
            account: "",
            is_permitted: true,
        }
    }
    [
        aws(&["arn:aws:iam::111111111111:user/u"], OWN, true),
        aws(&["arn:aws:iam::111111111111:user/u"], OWN, false),
        aws(&["arn:aws:iam::111111111111:role/r"], OWN, true),
        aws(&["arn:aws:iam::111111111111:role/r"], OWN, false),
        aws(&["arn:aws:iam::111111111111:role/other"], OWN, true),
        aws(&["arn:aws:iam::222222222222:role/a"], "222222222222", true),
        aws(
            &[
                "arn:aws:iam::222222222222:role/a",
                "arn:aws:sts::222222222222:assumed-role/a/s",
            ],
            "222222222222",
            true,
        ),
        aws(&["arn:aws:iam::222222222222:role/b"], "222222222222", true),
        aws(&["arn:aws:iam::333333333333:user/v"], "333333333333", true),
        other("Service", &["ec2.amazonaws.com"]),
        // A service has both of its names.
        other(
            "Service",
            &["states.amazonaws.com", "states.eu-west-1.amazonaws.com"],
        ),
        other("Federated", &["arn:aws:iam::111111111111:oidc-provider/h"]),
    ]
};

const ACTIONS: [&str; 6] = ["s:a", "s:b", "s:ab", "s:cc", "t:a", "t:b"];
const TRUST_ACTIONS: [&str; 3] = ["sts:assumerole", "sts:assumerolewithsaml", "sts:tagsession"];
const RESOURCES: [&str; 9] = [
    "arn:x:s:::a",
    "arn:x:s:::b",
    "arn:x:s:::ab",
    "arn:x:s:::c",
    "arn:x:s:::a*",
    "arn:x:t:::a",
    "arn:x:s:::x:a",
    "arn:x:t:u:::a",
    "arn:x:s:::${aws:username}",
];
const USERS: [Option<&str>; 3] = [None, Some("a"), Some("x")];

/// The kind of a condition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Region,
    Prefix,
    Tags,
    Mfa,
    Address,
    Number,
    Time,
    Arn,
}

const KEYS: [Key; 8] = [
    Key::Region,
    Key::Prefix,
    Key::Tags,
    Key::Mfa,
    Key::Address,
    Key::Number,
    Key::Time,
    Key::Arn,
];

const TEXTS: [&str; 10] = [
    "x",
    "X",
    "xy",
    "y",
    "x*",
    "?",
    "*",
    "x?",
    "${aws:username}",
    "x${*}",
];

impl Key {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Region => "aws:RequestedRegion",
            Self::Prefix => "s3:prefix",
            Self::Tags => "aws:TagKeys",
            Self::Mfa => "aws:MultiFactorAuthPresent",
            Self::Address => "aws:SourceIp",
            Self::Number => "s3:max-keys",
            Self::Time => "aws:CurrentTime",
            Self::Arn => "aws:PrincipalArn",
        }
    }

    pub fn operator(self, random: &mut Random) -> String {
        if random.chance(12) {
            return "Null".to_owned();
        }
        let texts = [
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
        ];
        let ordered = [
            "Equals",
            "NotEquals",
            "LessThan",
            "LessThanEquals",
            "GreaterThan",
            "GreaterThanEquals",
        ];
        let base = match self {
            Self::Region | Self::Prefix => random.of(&texts).to_owned(),
            Self::Tags => format!(
                "{}{}",
                random.of(&["ForAnyValue:", "ForAllValues:"]),
                random.of(&texts)
            ),
            Self::Mfa => "Bool".to_owned(),
            Self::Address => random.of(&["IpAddress", "NotIpAddress"]).to_owned(),
            Self::Number => format!("Numeric{}", random.of(&ordered)),
            Self::Time => format!("Date{}", random.of(&ordered)),
            Self::Arn => random
                .of(&["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"])
                .to_owned(),
        };
        let suffix = if random.chance(25) { "IfExists" } else { "" };
        base + suffix
    }

    pub fn values(self, has_variables: bool) -> &'static [&'static str] {
        match self {
            Self::Region | Self::Prefix | Self::Tags if has_variables => &TEXTS,
            Self::Region | Self::Prefix | Self::Tags => &TEXTS[..8],
            Self::Mfa => &["true", "false"],
            Self::Address => &[
                "10.0.0.0/8",
                "10.1.0.0/16",
                "10.1.2.3/32",
                "0.0.0.0/0",
                "::/0",
                "192.168.0.0/16",
            ],
            Self::Number => &["4", "5", "6", "5.5"],
            Self::Time => &[
                "2026-01-01T00:00:00Z",
                "1767225601",
                "2026-01-01T00:00:02Z",
                "2026-01-01",
            ],
            Self::Arn => &[
                "arn:aws:iam::1:role/a",
                "arn:aws:iam::1:role/*",
                "arn:aws:iam::*:role/a",
                "arn:aws:iam::1:*",
                "*",
                "arn:aws:iam::1:role/?",
            ],
        }
    }

    /// The values that requests have. An empty list is a request without the key.
    fn requested(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Region | Self::Prefix => &[
                &[],
                &["x"],
                &["X"],
                &["xy"],
                &["y"],
                &["x*"],
                &["a"],
                &["${aws:username}"],
            ],
            Self::Tags => &[
                &[],
                &["x"],
                &["y"],
                &["x", "y"],
                &["X"],
                &["xy", "x"],
                &["a", "zz"],
            ],
            Self::Mfa => &[&[], &["true"], &["false"]],
            Self::Address => &[
                &[],
                &["10.1.2.3"],
                &["10.1.9.9"],
                &["10.9.9.9"],
                &["192.168.0.1"],
                &["172.16.0.1"],
                &["::1"],
            ],
            Self::Number => &[&[], &["3"], &["4"], &["5"], &["5.2"], &["5.5"], &["6"], &["7"]],
            Self::Time => &[
                &[],
                &["1767225599"],
                &["1767225600"],
                &["1767225601"],
                &["1767225602"],
                &["1767225603"],
            ],
            Self::Arn => &[
                &[],
                &["arn:aws:iam::1:role/a"],
                &["arn:aws:iam::1:role/bb"],
                &["arn:aws:iam::1:role/b"],
                &["arn:aws:iam::2:role/a"],
                &["arn:aws:iam::1:user/a"],
                &["arn:aws:iam::1:x:role/a"],
            ],
        }
    }
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct World {
    pub is_trust: bool,
    pub keys: Vec<Key>,
    pub has_variables: bool,
    pub has_unread: bool,
    pub percent_old: usize,
    /// A `*` in a segment of an ARN ends at the next colon.
    by_segments: bool,
    /// `{"AWS": "*"}` names every caller, as `"*"` does.
    aws_star_is_everybody: bool,
    /// `*` under `ArnLike` matches every ARN.
    star_is_arn: bool,
}

/// The requests that are allowed.
#[derive(PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Returns the first request that the other does not have.
    pub fn more_than(&self, other: &Self) -> Option<usize> {
        let mut words = self.0.iter().zip(&other.0).enumerate();
        words.find_map(|(at, (own, other))| {
            let more = own & !other;
            (more != 0).then(|| at * 64 + more.trailing_zeros() as usize)
        })
    }
}

/// A request: positions in the tables.
struct Request {
    subject: usize,
    action: usize,
    values: usize,
    user: usize,
    hidden: usize,
}

impl World {
    pub fn draw(random: &mut Random) -> Self {
        let is_trust = random.chance(35);
        let has_unread = !is_trust && random.chance(25);
        let mut keys = random.some(&KEYS);
        keys.truncate(if has_unread { 1 } else { 2 });
        let has_variables = random.chance(40);
        Self {
            is_trust,
            has_unread,
            keys,
            has_variables,
            percent_old: if random.chance(20) { 30 } else { 0 },
            by_segments: random.chance(50),
            aws_star_is_everybody: random.chance(50),
            star_is_arn: random.chance(50),
        }
    }

    fn sizes(&self) -> [usize; 5] {
        let values = self.keys.iter().map(|key| key.requested().len()).product();
        [
            if self.is_trust {
                CALLERS.len()
            } else {
                RESOURCES.len()
            },
            self.actions().len(),
            values,
            if self.has_variables { USERS.len() } else { 1 },
            if self.has_unread { 12 } else { 1 },
        ]
    }

    const fn actions(&self) -> &'static [&'static str] {
        if self.is_trust { &TRUST_ACTIONS } else { &ACTIONS }
    }

    fn position(&self, mut at: usize) -> Request {
        let mut sizes = self.sizes();
        sizes.reverse();
        let [hidden, user, values, action, subject] = sizes.map(|size| {
            let rest = at % size;
            at /= size;
            rest
        });
        Request {
            subject,
            action,
            values,
            user,
            hidden,
        }
    }

    /// Returns a request as text.
    pub fn request(&self, at: usize) -> String {
        let request = self.position(at);
        let subject = if self.is_trust {
            format!("{:?}", CALLERS[request.subject].names)
        } else {
            RESOURCES[request.subject].to_owned()
        };
        format!(
            "{} {subject} {:?} user {:?} unread {}",
            self.actions()[request.action],
            self.values(request.values),
            USERS[request.user],
            request.hidden
        )
    }

    fn values(&self, mut at: usize) -> Vec<(Key, &'static [&'static str])> {
        let values = self.keys.iter().map(|key| {
            let all = key.requested();
            let one = all[at % all.len()];
            at /= all.len();
            (*key, one)
        });
        values.collect()
    }

    /// Returns the requests that the policies of a side allow.
    pub fn allowed(&self, side: &Side) -> Bits {
        self.requests(side, |is_allowed, is_denied| is_allowed && !is_denied)
    }

    /// Returns the requests that the policy of a resource can allow: those that no policy of a side denies.
    pub fn not_denied(&self, side: &Side) -> Bits {
        self.requests(side, |_, is_denied| !is_denied)
    }

    fn requests(&self, side: &Side, is_meant: impl Fn(bool, bool) -> bool) -> Bits {
        let [subjects, actions, values, users, hidden] = self.sizes();
        let total = subjects * actions * values * users * hidden;
        let (mut allowed, mut denied) = (vec![false; total / hidden], vec![false; total / hidden]);
        for policy in &side.policies {
            for rule in &policy.rules {
                let into = if rule.is_allow { &mut allowed } else { &mut denied };
                self.mark(rule, policy.is_old, into);
            }
        }
        let mut bits = vec![0_u64; total.div_ceil(64)];
        for at in 0..total {
            let (mut allow, mut deny) = (allowed[at / hidden], denied[at / hidden]);
            if self.has_unread {
                // What each policy without a document does about this request.
                let state = at % hidden;
                let effects = [state % 3, state / 3 % 2, if state / 6 == 1 { 2 } else { 0 }];
                for (effect, has) in effects.into_iter().zip(side.unread) {
                    allow |= has && effect == 1;
                    deny |= has && effect == 2;
                }
            }
            if is_meant(allow, deny) {
                bits[at / 64] |= 1 << (at % 64);
            }
        }
        Bits(bits)
    }

    fn mark(&self, rule: &Rule, is_old: bool, into: &mut [bool]) {
        let [subjects, actions, values, users, _] = self.sizes();
        let by_action: Vec<bool> = (0..actions)
            .map(|at| {
                let mut patterns = rule.actions.iter();
                patterns.any(|pattern| glob(&pattern.to_lowercase(), self.actions()[at])) != rule.not_action
            })
            .collect();
        for user in 0..users {
            let name = USERS[user];
            let by_subject: Vec<bool> = (0..subjects)
                .map(|at| {
                    if self.is_trust {
                        return self.names(rule, &CALLERS[at]);
                    }
                    let mut patterns = rule.resources.iter();
                    patterns.any(|pattern| self.matches_arn(pattern, RESOURCES[at], name, is_old))
                        != rule.not_resource
                })
                .collect();
            let by_values: Vec<bool> = (0..values)
                .map(|at| {
                    let values = self.values(at);
                    let mut conditions = rule.conditions.iter();
                    conditions.all(|condition| self.meets(condition, &values, name, is_old))
                })
                .collect();
            for subject in (0..subjects).filter(|at| by_subject[*at]) {
                for action in (0..actions).filter(|at| by_action[*at]) {
                    for (at, meets) in by_values.iter().enumerate() {
                        into[((subject * actions + action) * values + at) * users + user] |= meets;
                    }
                }
            }
        }
    }

    fn names(&self, rule: &Rule, caller: &Caller) -> bool {
        let named = |(kind, value): &(&str, &str), needs_permission: bool| {
            if *kind == "AWS" && *value == "*" {
                return caller.kind == "AWS" || self.aws_star_is_everybody;
            }
            if *kind != caller.kind {
                return false;
            }
            if caller.names.contains(value) {
                return true;
            }
            // In its own account the trust policy delegates to the caller's policies.
            !caller.account.is_empty()
                && *value == caller.account
                && (caller.is_permitted || !needs_permission)
        };
        match &rule.who {
            Who::Unnamed | Who::Everybody => true,
            Who::Only(all) => all.iter().any(|one| named(one, rule.is_allow)),
            Who::AllBut(all) => !all.iter().any(|one| named(one, false)),
        }
    }

    fn matches_arn(&self, pattern: &str, text: &str, user: Option<&str>, is_old: bool) -> bool {
        let Some(pattern) = resolved(pattern, user, is_old) else {
            return false;
        };
        let text: Vec<char> = text.chars().collect();
        if !self.by_segments || pattern == [Part::Many] {
            return glob_parts(&pattern, &text);
        }
        let colon = |part: &Part| *part == Part::Char(':');
        let patterns: Vec<&[Part]> = pattern.splitn(6, colon).collect();
        let texts: Vec<&[char]> = text.splitn(6, |c| *c == ':').collect();
        // A pattern with fewer segments is completed with stars.
        texts.iter().enumerate().all(|(at, text)| match patterns.get(at) {
            Some(pattern) => glob_parts(pattern, text),
            None => true,
        })
    }

    fn meets(
        &self,
        condition: &Condition,
        values: &[(Key, &'static [&'static str])],
        user: Option<&str>,
        is_old: bool,
    ) -> bool {
        let found = values.iter().find(|(key, _)| key.name() == condition.key);
        let (key, present) = *found.expect("every key has values");
        let operator = condition.operator.as_str();
        if operator == "Null" {
            return condition
                .values
                .iter()
                .any(|value| (*value == "true") == present.is_empty());
        }
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (operator, false),
        };
        let test = |operator: &str, value: &str| {
            let (positive, is_negated) = match operator.find("Not") {
                Some(at) => (format!("{}{}", &operator[..at], &operator[at + 3..]), true),
                None => (operator.to_owned(), false),
            };
            let mut wanted = condition.values.iter();
            wanted.any(|wanted| self.equals(key, &positive, wanted, value, user, is_old)) != is_negated
        };
        if let Some(operator) = operator.strip_prefix("ForAllValues:") {
            return present.iter().all(|value| test(operator, value));
        }
        let is_any = operator.strip_prefix("ForAnyValue:");
        if present.is_empty() {
            return if_exists || (is_any.is_none() && operator.contains("Not"));
        }
        let operator = is_any.unwrap_or(operator);
        present.iter().any(|value| test(operator, value))
    }

    fn equals(
        &self,
        key: Key,
        operator: &str,
        wanted: &str,
        value: &str,
        user: Option<&str>,
        is_old: bool,
    ) -> bool {
        let text = |parts: Vec<Part>| -> String {
            let chars = parts.iter().map(|part| match part {
                Part::Char(c) => *c,
                Part::One => '?',
                Part::Many => '*',
            });
            chars.collect()
        };
        match key {
            Key::Region | Key::Prefix | Key::Tags => {
                let Some(parts) = resolved(wanted, user, is_old) else {
                    return false;
                };
                match operator {
                    "StringEquals" => text(parts) == value,
                    "StringEqualsIgnoreCase" => text(parts).to_lowercase() == value.to_lowercase(),
                    _ => glob_parts(&parts, &value.chars().collect::<Vec<_>>()),
                }
            }
            Key::Mfa => wanted == value,
            Key::Address => {
                let (network, length) = wanted.split_once('/').expect("a network");
                let length: u32 = length.parse().expect("a length");
                match (
                    network.parse().expect("an address"),
                    value.parse().expect("an address"),
                ) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                        u32::from(a) & mask == u32::from(b) & mask
                    }
                    // The only network of the newer version is all of it.
                    (IpAddr::V6(_), IpAddr::V6(_)) => true,
                    _ => false,
                }
            }
            Key::Number | Key::Time => {
                let wanted = match wanted {
                    "2026-01-01T00:00:00Z" | "2026-01-01" => 1_767_225_600.0,
                    "2026-01-01T00:00:02Z" => 1_767_225_602.0,
                    other => other.parse::<f64>().expect("a number"),
                };
                let value: f64 = value.parse().expect("a number");
                let by = operator.trim_start_matches("Numeric").trim_start_matches("Date");
                match by {
                    "Equals" => value.total_cmp(&wanted).is_eq(),
                    "LessThan" => value < wanted,
                    "LessThanEquals" => value <= wanted,
                    "GreaterThan" => value > wanted,
                    _ => value >= wanted,
                }
            }
            Key::Arn if wanted == "*" => self.star_is_arn,
            Key::Arn => self.matches_arn(wanted, value, user, is_old),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Many,
}

/// Puts values in place of variables. `None` if one has no value, which matches nothing.
fn resolved(pattern: &str, user: Option<&str>, is_old: bool) -> Option<Vec<Part>> {
    let mut parts = vec![];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if !is_old && let Some(after) = rest.strip_prefix("${aws:username}") {
            parts.extend(user?.chars().map(Part::Char));
            rest = after;
        } else if !is_old && let Some(after) = rest.strip_prefix("${*}") {
            parts.push(Part::Char('*'));
            rest = after;
        } else {
            parts.push(match c {
                '*' => Part::Many,
                '?' => Part::One,
                c => Part::Char(c),
            });
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(parts)
}

fn glob(pattern: &str, text: &str) -> bool {
    let parts = resolved(pattern, None, true).unwrap_or_default();
    glob_parts(&parts, &text.chars().collect::<Vec<_>>())
}

fn glob_parts(parts: &[Part], text: &[char]) -> bool {
    match (parts.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((Part::Many, rest)), _) if glob_parts(rest, text) => true,
        (Some((Part::Many, _)), Some((_, others))) => glob_parts(parts, others),
        (Some((Part::One, rest)), Some((_, others))) => glob_parts(rest, others),
        (Some((Part::Char(c), rest)), Some((d, others))) => c == d && glob_parts(rest, others),
        _ => false,
    }
}
