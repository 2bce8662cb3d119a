//! Whether the conditions of one statement imply those of another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::budget::Budget;
use super::pattern::Kind;
use super::text::{Form, Text};
use crate::policy::document::Caseless;

/// Steps to compare two values that are not compared as patterns.
const VALUE: usize = 16;

/// One operator and key of a statement, with its values.
pub struct Condition<'a> {
    operator: Operator,
    key: &'a Caseless,
    values: &'a BTreeSet<String>,
    texts: Vec<Text<'a>>,
}

impl<'a> Condition<'a> {
    /// Returns the conditions of a statement.
    pub fn all(
        conditions: &'a BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>>,
        has_variables: bool,
    ) -> Vec<Self> {
        let each = conditions
            .iter()
            .flat_map(|(operator, keys)| keys.iter().map(move |(key, values)| (operator, key, values)));
        let all = each.map(|(operator, key, values)| {
            let operator = Operator::of(operator.as_str());
            let form = match positive(&operator.base) {
                "stringlike" => Form::Pattern(Kind::Text),
                "arnlike" => Form::Pattern(Kind::Arn),
                _ => Form::Literal,
            };
            Self {
                operator,
                key,
                values,
                texts: values
                    .iter()
                    .map(|text| Text::of(text, form, has_variables))
                    .collect(),
            }
        });
        all.collect()
    }

    fn needs_key(&self) -> bool {
        self.operator.needs_key(self.values)
    }

    fn needs_absence(&self) -> bool {
        self.operator.needs_absence(self.values)
    }

    fn base(&self) -> &str {
        &self.operator.base
    }
}

/// Returns true if every request that meets `inner` meets `outer`: each condition of `outer` follows from one of `inner`.
pub fn implies(inner: &[Condition<'_>], outer: &[Condition<'_>], budget: &Budget) -> bool {
    outer.iter().all(|condition| {
        let mut own = inner.iter();
        own.any(|own| budget.spend(1) && own.key == condition.key && follows(own, condition, budget))
    })
}

/// How an operator treats a key with several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// The key has one value.
    None,
    /// `ForAnyValue`.
    Any,
    /// `ForAllValues`.
    All,
}

/// An operator in lower case, without `ForAnyValue:`, `ForAllValues:` and `IfExists`.
struct Operator {
    base: String,
    set: Set,
    /// True with `IfExists`.
    if_exists: bool,
}

impl Operator {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let (set, rest) = if let Some(rest) = name.strip_prefix("foranyvalue:") {
            (Set::Any, rest)
        } else if let Some(rest) = name.strip_prefix("forallvalues:") {
            (Set::All, rest)
        } else {
            (Set::None, name.as_str())
        };
        let base = rest.strip_suffix("ifexists");
        Self {
            base: base.unwrap_or(rest).to_owned(),
            set,
            if_exists: base.is_some(),
        }
    }

    /// Returns true if a request without the key meets the condition. Not for `Null`.
    fn takes_missing(&self) -> bool {
        match self.set {
            Set::None => self.if_exists || is_negated(&self.base),
            Set::Any => self.if_exists,
            Set::All => true,
        }
    }

    /// Returns true if only a request that has the key meets the condition.
    fn needs_key(&self, values: &BTreeSet<String>) -> bool {
        match self.base.as_str() {
            "null" => is_only(values, "false"),
            base => is_comparable(base) && !self.takes_missing(),
        }
    }

    /// Returns true if only a request that does not have the key meets the condition.
    fn needs_absence(&self, values: &BTreeSet<String>) -> bool {
        self.base == "null" && is_only(values, "true")
    }
}

fn is_only(values: &BTreeSet<String>, text: &str) -> bool {
    values.len() == 1 && values.contains(text)
}

/// Returns true if the condition `b` follows from the condition `a` on the same key.
fn follows(a: &Condition<'_>, b: &Condition<'_>, budget: &Budget) -> bool {
    let (by_a, by_b) = (&a.operator, &b.operator);
    if a.needs_absence() && is_comparable(b.base()) {
        return by_b.takes_missing();
    }
    if by_b.base == "null" && is_only(b.values, "false") {
        return a.needs_key();
    }
    if by_a.set != by_b.set || (by_a.takes_missing() && !by_b.takes_missing()) {
        return false;
    }
    if by_a.base == by_b.base && budget.spend(a.values.len()) && a.values == b.values {
        return true;
    }
    // What equals one value differs from the others, where the key has one value.
    let are_alone = by_a.set == Set::None && by_b.set == Set::None && is_single_valued(a.key.as_str());
    if are_alone && !is_negated(a.base()) && is_negated(b.base()) {
        let differs = |own| {
            b.texts
                .iter()
                .all(|other| are_apart(a.base(), own, positive(b.base()), other, budget))
        };
        return is_comparable(a.base()) && a.texts.iter().all(differs);
    }
    // `Null` and operators that are not known are compared for equality only.
    if is_negated(a.base()) != is_negated(b.base()) || !is_comparable(a.base()) || !is_comparable(b.base()) {
        return false;
    }
    if is_negated(a.base()) {
        // What differs from more differs from less.
        return all_are_covered(a, b, budget);
    }
    all_are_covered(b, a, budget)
}

/// Returns true if each value of `inner` is covered by one of `outer`.
fn all_are_covered(outer: &Condition<'_>, inner: &Condition<'_>, budget: &Budget) -> bool {
    inner.texts.iter().all(|value| {
        let mut own = outer.texts.iter();
        own.any(|own| value_covers(outer.base(), own, inner.base(), value, budget))
    })
}

/// Keys that have one value in a request, by the
/// [list of global keys](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html). A key that ends in a
/// slash is followed by the key of a tag.
const SINGLE_VALUED: &[&str] = &[
    "aws:currenttime",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourceorgid",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:username",
    "aws:viaawsservice",
    "iam:passedtoservice",
];

fn is_single_valued(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SINGLE_VALUED
        .iter()
        .any(|known| *known == key || (known.ends_with('/') && key.starts_with(known)))
}

/// Returns true if no request meets both. False if that cannot be shown.
pub fn contradict(one: &[Condition<'_>], other: &[Condition<'_>], budget: &Budget) -> bool {
    one.iter().any(|a| {
        let mut others = other.iter();
        others.any(|b| budget.spend(1) && a.key == b.key && excludes(a, b, budget))
    })
}

fn excludes(a: &Condition<'_>, b: &Condition<'_>, budget: &Budget) -> bool {
    if (a.needs_absence() && b.needs_key()) || (b.needs_absence() && a.needs_key()) {
        return true;
    }
    let (by_a, by_b) = (&a.operator, &b.operator);
    let is_one_value = by_a.set == Set::None && by_b.set == Set::None && is_single_valued(a.key.as_str());
    let are_comparable = is_comparable(a.base()) && is_comparable(b.base());
    // A request without the key must not meet both.
    if !is_one_value || !are_comparable || (by_a.takes_missing() && by_b.takes_missing()) {
        return false;
    }
    match (is_negated(a.base()), is_negated(b.base())) {
        // All that equals one of the values differs from none of the other's.
        (false, true) => all_are_covered(b, a, budget),
        (true, false) => all_are_covered(a, b, budget),
        (false, false) => a.texts.iter().all(|value| {
            let mut others = b.texts.iter();
            others.all(|other| are_apart(a.base(), value, b.base(), other, budget))
        }),
        (true, true) => false,
    }
}

/// Returns true if nothing equals both values.
fn are_apart(a_by: &str, a: &Text<'_>, b_by: &str, b: &Text<'_>, budget: &Budget) -> bool {
    let is_text = |by: &str| matches!(by, "stringequals" | "stringlike");
    if !budget.spend(VALUE) {
        return false;
    }
    if let ("bool", "bool") = (a_by, b_by) {
        let (a, b) = (a.as_str(), b.as_str());
        return !a.eq_ignore_ascii_case(b) && !a.contains('$') && !b.contains('$');
    }
    is_text(a_by) && is_text(b_by) && a.is_disjoint(b, budget)
}

fn is_negated(base: &str) -> bool {
    matches!(
        base,
        "stringnotequals"
            | "stringnotequalsignorecase"
            | "stringnotlike"
            | "numericnotequals"
            | "datenotequals"
            | "notipaddress"
            | "arnnotequals"
            | "arnnotlike"
    )
}

fn is_comparable(base: &str) -> bool {
    matches!(
        positive(base),
        "stringequals" | "stringequalsignorecase" | "stringlike" | "arnlike" | "bool" | "ipaddress"
    ) || order(positive(base)).is_some()
}

/// Returns true if what equals `inner` by the operator `inner_by` equals `outer` by `outer_by`, too. Operators are without their negation.
fn value_covers(outer_by: &str, outer: &Text<'_>, inner_by: &str, inner: &Text<'_>, budget: &Budget) -> bool {
    let (outer_by, inner_by) = (positive(outer_by), positive(inner_by));
    let (one, other) = (outer.as_str(), inner.as_str());
    if !budget.spend(VALUE) {
        return false;
    }
    match (outer_by, inner_by) {
        ("stringequals", "stringequals") => one == other,
        ("stringequalsignorecase", "stringequals" | "stringequalsignorecase") | ("bool", "bool") => {
            one.eq_ignore_ascii_case(other)
        }
        ("stringlike", "stringequals" | "stringlike") => outer.covers(inner, budget),
        // ArnEquals and ArnLike behave in the same way. A pattern that is no ARN is documented for resources only.
        ("arnlike", "arnlike") => {
            one == other || (outer.pattern(budget).is_arn() && outer.covers(inner, budget))
        }
        ("ipaddress", "ipaddress") => match (network(one), network(other)) {
            (Some(outer), Some(inner)) => contains(outer, inner),
            _ => one == other,
        },
        (outer_by, inner_by) => match (order(outer_by), order(inner_by)) {
            (Some((outer_kind, outer_by)), Some((inner_kind, inner_by))) if outer_kind == inner_kind => {
                let number = |text: &str| number(outer_kind, text);
                match (number(one), number(other)) {
                    (Some(outer), Some(inner)) => is_within(outer_by, outer, inner_by, inner),
                    _ => outer_by == inner_by && one == other,
                }
            }
            _ => outer_by == inner_by && one == other,
        },
    }
}

/// Returns an operator without its negation, and one name for operators that behave in the same way.
fn positive(base: &str) -> &str {
    match base {
        "stringnotequals" => "stringequals",
        "stringnotequalsignorecase" => "stringequalsignorecase",
        "stringnotlike" => "stringlike",
        "numericnotequals" => "numericequals",
        "datenotequals" => "dateequals",
        "notipaddress" => "ipaddress",
        "arnequals" | "arnnotequals" | "arnnotlike" => "arnlike",
        other => other,
    }
}

/// What a number or a date is compared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Number,
    Date,
}

fn order(base: &str) -> Option<(Quantity, Order)> {
    let (quantity, rest) = match base.strip_prefix("numeric") {
        Some(rest) => (Quantity::Number, rest),
        None => (Quantity::Date, base.strip_prefix("date")?),
    };
    let order = match rest {
        "equals" => Order::Equal,
        "lessthan" => Order::Less,
        "lessthanequals" => Order::AtMost,
        "greaterthan" => Order::Greater,
        "greaterthanequals" => Order::AtLeast,
        _ => return None,
    };
    Some((quantity, order))
}

/// Parses whole numbers, and dates to the second. Others are compared as texts.
fn number(quantity: Quantity, text: &str) -> Option<i64> {
    match quantity {
        Quantity::Number => text.parse().ok(),
        Quantity::Date => match text.parse::<Timestamp>() {
            Ok(time) if time.subsec_nanosecond() == 0 => Some(time.as_second()),
            Ok(_) => None,
            Err(_) => text.parse().ok(),
        },
    }
}

/// Returns true if every number that is `inner_by` of `inner` is `outer_by` of `outer`. Numbers need not be whole.
const fn is_within(outer_by: Order, outer: i64, inner_by: Order, inner: i64) -> bool {
    match (outer_by, inner_by) {
        (Order::Equal, Order::Equal) => outer == inner,
        (Order::Less, Order::Equal | Order::AtMost) => inner < outer,
        (Order::Less, Order::Less) | (Order::AtMost, Order::Equal | Order::Less | Order::AtMost) => {
            inner <= outer
        }
        (Order::Greater, Order::Equal | Order::AtLeast) => inner > outer,
        (Order::Greater, Order::Greater)
        | (Order::AtLeast, Order::Equal | Order::Greater | Order::AtLeast) => inner >= outer,
        _ => false,
    }
}

/// Parses an address or a network: its bits, its prefix and the number of bits.
fn network(text: &str) -> Option<(u128, u32, u32)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let (bits, width) = match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok()?,
        None => width,
    };
    (prefix <= width).then_some((bits, prefix, width))
}

fn contains(outer: (u128, u32, u32), inner: (u128, u32, u32)) -> bool {
    let ((outer, outer_prefix, outer_width), (inner, inner_prefix, inner_width)) = (outer, inner);
    let shifted = |bits: u128| bits.checked_shr(outer_width - outer_prefix).unwrap_or_default();
    outer_width == inner_width && outer_prefix <= inner_prefix && shifted(outer) == shifted(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if `b` follows from `a`, each as `operator value,value`.
    fn check(a: &str, b: &str) -> bool {
        let read = |text: &str| {
            let (operator, values) = text.split_once(' ').unwrap();
            let values: BTreeSet<String> = values.split(',').map(str::to_owned).collect();
            (operator.to_owned(), values)
        };
        let of = |text: &str| {
            let (operator, values) = read(text);
            let keys = BTreeMap::from([(Caseless::from("k"), values)]);
            BTreeMap::from([(Caseless::from(operator.as_str()), keys)])
        };
        let (a, b) = (of(a), of(b));
        implies(
            &Condition::all(&a, true),
            &Condition::all(&b, true),
            &Budget::default(),
        )
    }

    #[test]
    fn a_condition_follows_from_a_stronger_one() {
        for (a, b, is_implied) in [
            ("StringEquals x", "StringEquals x,y", true),
            ("StringEquals x,y", "StringEquals x", false),
            ("StringEquals x", "StringLike x*", true),
            ("StringLike x*", "StringEquals x", false),
            ("StringLike xy*", "StringLike x*", true),
            ("StringEquals x*", "StringLike x?", true),
            ("StringEquals X", "StringEqualsIgnoreCase x", true),
            ("StringEqualsIgnoreCase x", "StringEquals x", false),
            ("StringNotEquals x,y", "StringNotEquals x", true),
            ("StringNotEquals x", "StringNotEquals x,y", false),
            ("StringNotLike x*", "StringNotEquals xy", true),
            ("StringNotEquals xy", "StringNotLike x*", false),
            ("StringEquals x", "StringEqualsIfExists x", true),
            ("StringEqualsIfExists x", "StringEquals x", false),
            ("StringNotEqualsIfExists x", "StringNotEquals x", true),
            ("StringEquals x", "StringNotEquals y", false),
            ("Bool true", "Bool TRUE", true),
            ("Bool true", "BoolIfExists true", true),
            ("IpAddress 10.1.0.0/16", "IpAddress 10.0.0.0/8", true),
            ("IpAddress 10.0.0.0/8", "IpAddress 10.1.0.0/16", false),
            ("IpAddress 10.1.2.3", "IpAddress 0.0.0.0/0", true),
            ("IpAddress ::1", "IpAddress 0.0.0.0/0", false),
            ("NotIpAddress 10.0.0.0/8", "NotIpAddress 10.1.0.0/16", true),
            ("NumericLessThan 5", "NumericLessThan 6", true),
            ("NumericLessThan 5", "NumericLessThanEquals 5", true),
            ("NumericLessThanEquals 5", "NumericLessThan 5", false),
            ("NumericEquals 5", "NumericGreaterThanEquals 5", true),
            ("NumericLessThan 5.5", "NumericLessThan 6", false),
            (
                "DateLessThan 2026-01-01T00:00:00Z",
                "DateLessThan 2027-01-01T00:00:00Z",
                true,
            ),
            (
                "DateGreaterThan 2026-01-01T00:00:00Z",
                "DateGreaterThan 2027-01-01T00:00:00Z",
                false,
            ),
            ("NumericEquals 5", "DateEquals 5", false),
            ("ArnEquals arn:aws:s3:::b", "ArnLike arn:aws:s3:::*", true),
            ("Null true", "Null true", true),
            ("Null true", "Null false", false),
            ("ForAllValues:StringEquals x", "ForAllValues:StringEquals x", true),
            (
                "ForAllValues:StringEquals x",
                "ForAllValues:StringEquals x,y",
                true,
            ),
            ("ForAnyValue:StringEquals x", "ForAnyValue:StringLike x*", true),
            (
                "ForAnyValue:StringNotEquals x",
                "ForAnyValue:StringNotEquals x,y",
                false,
            ),
            (
                "ForAnyValue:StringEqualsIfExists x",
                "ForAnyValue:StringEquals x",
                false,
            ),
            ("ForAllValues:StringEquals x", "ForAnyValue:StringEquals x", false),
            ("ForAllValues:StringEquals x", "Null false", false),
            ("ForAnyValue:StringEquals x", "Null false", true),
            ("StringEquals x", "Null false", true),
            ("StringNotEquals x", "Null false", false),
            ("StringEqualsIfExists x", "Null false", false),
            ("Null true", "StringNotEquals x", true),
            ("Null true", "ForAllValues:StringEquals x", true),
            ("Null true", "ForAnyValue:StringNotEquals x", false),
            ("Null false", "StringNotEquals x", false),
            ("Null true,false", "StringNotEquals x", false),
            ("ArnLike arn:aws:s3:::b", "ArnLike *", false),
            ("ForAnyValue:StringEquals x", "StringEquals x", false),
        ] {
            assert_eq!(check(a, b), is_implied, "{a} => {b}");
        }
    }
}
